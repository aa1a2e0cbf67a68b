"""Google's bert_config.json and albert_config.json as configs of transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptm.errors import UserError
from ptm.interop.folders import read_config

_REQUIRED = (
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "type_vocab_size",
    "vocab_size",
)
_OPTIONAL = (
    "attention_probs_dropout_prob",
    "hidden_act",
    "hidden_dropout_prob",
    "initializer_range",
)
_ALBERT_DEFAULTS = {"num_hidden_groups": 1, "inner_group_num": 1}
_ALBERT = ("embedding_size", *_ALBERT_DEFAULTS)
_UNUSED = (
    "directionality",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
)
"""Keys of the configs of Chinese and multilingual BERT that Google's code never reads."""
_FIXED: Mapping[str, Any] = {
    "model_type": None,
    "ln_type": "postln",
    "net_structure_type": 0,
    "gap_size": 0,
    "num_memory_blocks": 0,
    "down_scale_factor": 1,
    "layers_to_keep": [],
}
"""Keys that some configs have, with the only value that is the architecture of Google's code."""
_ACTIVATIONS = {
    "bert": {"gelu": "gelu", "relu": "relu", "tanh": "tanh"},
    # ALBERT's code has always computed gelu by tanh. That of BERT did so later; transformers and
    # its copies of Google's models compute BERT's with the error function, and so does ptm.
    "albert": {"gelu": "gelu_new", "relu": "relu", "tanh": "tanh"},
}


def read_google_config(path: Path, model_type: str) -> dict[str, Any]:
    """The config at `path` with transformers' keys and values.

    `model_type`: `bert` or `albert`. Raises UserError if the file cannot be read, lacks a key or
    has a key or value that does not belong to Google's models.
    """
    config = read_config(path)
    albert = model_type == "albert"
    sizes = (*_REQUIRED, *(_ALBERT if albert else ()))
    for key in sizes:
        if key not in config and key not in _ALBERT_DEFAULTS:
            raise UserError(f"{path}: the key {key} is missing.")
        value = config.get(key, 1)
        if type(value) is not int or value < 1:
            raise UserError(f"{path}: {key} = {json.dumps(value)} must be a positive whole number.")
    fixed: dict[str, Any] = {**_FIXED, "model_type": model_type}
    for key, value in config.items():
        if key in fixed and value != fixed[key]:
            raise UserError(
                f"{path}: {key} = {json.dumps(value)} is not supported. Supported: "
                f"{json.dumps(fixed[key])}."
            )
        if key not in (*sizes, *_OPTIONAL, *_UNUSED, *fixed):
            raise UserError(
                f"{path}: the key {key} is not one of Google's {model_type.upper()}, so the model "
                "may compute something else. Remove the key if it changes nothing."
            )
    activations = _ACTIVATIONS[model_type]
    named = str(config.get("hidden_act", "gelu"))
    if named not in activations:
        raise UserError(
            f"{path}: hidden_act {json.dumps(named)} is not supported. Supported: "
            f"{', '.join(activations)}."
        )
    return {
        "model_type": model_type,
        **{key: value for key, value in config.items() if key in (*sizes, *_OPTIONAL)},
        "hidden_act": activations[named],
        # The epsilon of TensorFlow's layer_norm, which Google's models use.
        "layer_norm_eps": 1e-12,
    }
