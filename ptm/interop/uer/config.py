"""Convert model configs of UER-py and TencentPretrain to recipe blocks, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.files.user_files import read_json
from ptm.interop.uer.encoders import FORMATS, TRANSFORMER, EncoderFormat, format_for
from ptm.interop.uer.encoders.base import check_supported
from ptm.interop.uer.objectives import objective_block, target_keys, target_of
from ptm.interop.uer.targets import MASKED, NEXT, SPELLINGS, target_in_config
from ptm.recipe.model_block import ModelBlock

_ACTIVATIONS = {"gelu": "gelu", "gelu_fast": "gelu_tanh", "relu": "relu", "silu": "silu"}
"""UER-py's name to `ptm`'s."""
_PARTS = {"word": "word", "pos": "position", "seg": "segment"}
_OLD_EMBEDDINGS = ("word_pos_seg", "word_pos", "word", "bert")
_EPSILON = 1e-12
"""Epsilon of the norms, the value that UER-py's own converters write for transformers.

UER-py divides by the standard deviation (over n - 1) plus 1e-6; of the values of our formula, 1e-12
comes nearest to that.
"""

# Keys of every config, and the values that are supported.
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "encoder": tuple(FORMATS),
    "decoder": (None,),
    "layernorm": ("normal",),
    "embedding": (["word", "pos", "seg"], ["word", "pos"], ["word"], *_OLD_EMBEDDINGS),
    "target": SPELLINGS,
    "pooling": ("first", "mean", "max", "last"),
}


def is_uer_config(config: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a UER-py config: only these have sizes of these names."""
    return "layers_num" in config and ("heads_num" in config or "emb_size" in config)


def read_uer_config(path: Path) -> dict[str, Any]:
    """Return the parsed config. Raises UserError if it cannot be read or is not of UER-py."""
    config = read_json(path)
    if not isinstance(config, dict) or not is_uer_config(config):
        raise UserError(
            f"{path}: the file is not a UER-py model config, which is a JSON object with "
            "layers_num and heads_num or emb_size."
        )
    return config


def check_values(config: Mapping[str, Any]) -> None:
    """Raise UserError naming the first key that has a value that is not supported."""
    check_supported(config, _ONLY)


def encoder_format(config: Mapping[str, Any]) -> EncoderFormat:
    """Return the format of the config's encoder. Raises UserError if it is not supported."""
    check_supported(config, {"encoder": _ONLY["encoder"]})
    return FORMATS[config.get("encoder", TRANSFORMER)]


def has_pairs(config: Mapping[str, Any]) -> bool:
    """Whether the targets include classification of sentence pairs."""
    target = config.get("target", "bert")
    return "sp" in target if isinstance(target, list) else target in ("bert", "albert")


def blocks_of(config: Mapping[str, Any], *, pairs: bool, tied: bool) -> dict[str, Any]:
    """Return the `model` and `objective` blocks of a recipe.

    `pairs`: whether the model has a sentence-pair head; `tied`: whether the output matrix is the
    word embedding. Raises KeyError for a missing size, UserError for an option that is not
    supported.
    """
    check_values(config)
    encoder = {
        **encoder_format(config).block(config),
        "activation": activation_from_uer(config),
        "norm_epsilon": _EPSILON,
    }
    hidden, size = config["hidden_size"], config.get("emb_size", config["hidden_size"])
    factorised = bool(config.get("factorized_embedding_parameterization"))
    _check_width(config, factorised=factorised, tied=tied)
    embedding = {
        "parts": _parts(config),
        "layer_norm": not config.get("remove_embedding_layernorm", False),
        "positions": config.get("max_seq_length", 512),
        "size": size if size != hidden else None,
    }
    model = {
        "dropout": float(config.get("dropout", 0.1)),
        "embedding": embedding,
        "encoder": encoder,
    }
    objective = objective_block(config, target_in_config(config), pairs=pairs, tied=tied)
    return {"model": model, "objective": objective}


def _check_width(config: Mapping[str, Any], *, factorised: bool, tied: bool) -> None:
    """Raise UserError if embedding and layers differ in width in a way that `ptm` does not have."""
    hidden, size = config["hidden_size"], config.get("emb_size", config["hidden_size"])
    target = target_in_config(config)
    if target is NEXT and size != hidden and tied:
        raise UserError(
            f"emb_size = {size} and hidden_size = {hidden} are not supported with target lm and a "
            "tied output layer, which has the width of the encoder in UER-py."
        )
    # The first layer of other encoders reads any width, and only target mlm then uses the option.
    uses_option = encoder_format(config).type == TRANSFORMER or target is MASKED
    if uses_option and factorised is not (size != hidden):
        raise UserError(
            f"emb_size = {size} and hidden_size = {hidden} contradict "
            f"factorized_embedding_parameterization = {json.dumps(factorised)}."
        )


def activation_from_uer(config: Mapping[str, Any]) -> str:
    """Return `ptm`'s name of the config's activation. Raises UserError if it is not supported."""
    named = config.get("hidden_act", "gelu")
    if named not in _ACTIVATIONS:
        raise UserError(
            f'hidden_act = "{named}" is not supported. Supported: {", ".join(_ACTIVATIONS)}.'
        )
    return _ACTIVATIONS[named]


def activation_to_uer(activation: str) -> str:
    """Return UER-py's name of an activation. Raises UserError if UER-py does not have it."""
    for theirs, ours in _ACTIVATIONS.items():
        if ours == activation:
            return theirs
    raise UserError(f"UER-py configs cannot express model.encoder.activation = {activation}.")


def _parts(config: Mapping[str, Any]) -> list[str]:
    options = config.get("embedding", ["word", "pos", "seg"])
    if isinstance(options, str):
        options = ["word", "pos", "seg"] if options == "bert" else options.split("_")
    return [_PARTS[part] for part in options]


def uer_config(model: ModelBlock, objective: Objective, *, pairs: bool) -> dict[str, Any]:
    """Return the UER-py config of a `ptm` model. Raises UserError if UER-py cannot express it."""
    encoder, embedding = model.encoder, model.embedding
    encoding = format_for(encoder)
    if encoding is None or target_of(objective) is None:
        known = ", ".join(dict.fromkeys(one.type for one in FORMATS.values()))
        raise UserError(
            f"UER-py configs cannot express encoder {encoder.type} with objective "
            f"{objective.type}. They need a masked-token or next-token objective, bilm or "
            f"classification, and one of the encoders {known}."
        )
    of_encoder = encoding.config(encoder)
    _check_embedding(model)
    parts = {ours: theirs for theirs, ours in _PARTS.items()}
    config = {
        "emb_size": embedding.size or encoder.hidden_size,
        **of_encoder,
        "hidden_act": activation_to_uer(encoder.activation),
        "max_seq_length": embedding.positions,
        "dropout": model.dropout,
        "embedding": [parts[name] for name in embedding.parts],
        **target_keys(model, objective, pairs=pairs),
    }
    options = {
        "factorized_embedding_parameterization": embedding.size not in (None, encoder.hidden_size),
        "remove_embedding_layernorm": not embedding.layer_norm,
    }
    return config | {key: True for key, value in options.items() if value}


def _check_embedding(model: ModelBlock) -> None:
    """Raise UserError naming the first option of the embedding that UER-py cannot express."""
    embedding = model.embedding
    known = set(embedding.parts) <= set(_PARTS.values())
    # Without a table, UER-py's transformers have no positions at all.
    placed = embedding.has_position_table or model.encoder.type != TRANSFORMER
    can = {
        "scaled": not embedding.scaled,
        "parts": known and placed,
        "segments": embedding.segments <= 2,
    }
    for key, possible in can.items():
        if not possible:
            raise UserError(
                f"UER-py configs cannot express model.embedding.{key} = {getattr(embedding, key)}."
            )
