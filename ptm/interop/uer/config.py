"""Convert model configs of UER-py and TencentPretrain to recipe blocks, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives import Objective
from ptm.components.objectives.lm import Lm
from ptm.components.objectives.masked_tokens import MlmHead
from ptm.errors import UserError
from ptm.interop.uer.next_tokens import (
    check_mask,
    check_output,
    is_causal,
)
from ptm.recipe.model_block import ModelBlock
from ptm.user_files import read_json

_ACTIVATIONS = {"gelu": "gelu", "gelu_fast": "gelu_tanh", "relu": "relu", "silu": "silu"}
"""UER-py's name to `ptm`'s."""
_PARTS = {"word": "word", "pos": "position", "seg": "segment"}
_EPSILON = 1e-12
"""Epsilon of the norms, the value that UER-py's own converters write for transformers.

UER-py divides by the standard deviation (over n - 1) plus 1e-6; of the values of our formula, 1e-12
comes nearest to that.
"""

# Config keys other than sizes, and the values that are supported.
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "encoder": ("transformer", "bert"),
    "decoder": (None,),
    "mask": ("fully_visible", "causal"),
    "layernorm": ("normal",),
    "feed_forward": ("dense",),
    "relative_position_embedding": (False,),
    "rotary_position_embedding": (False,),
    "use_alibi": (False,),
    "remove_transformer_bias": (False,),
    "embedding": (["word", "pos", "seg"], ["word", "pos"], "word_pos_seg", "word_pos", "bert"),
    "target": (["mlm"], ["mlm", "sp"], ["sp", "mlm"], "mlm", "bert", "albert", ["lm"], "lm"),
}


def is_uer_config(config: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a UER-py config: only these have sizes of these names."""
    return "heads_num" in config and "layers_num" in config


def read_uer_config(path: Path) -> dict[str, Any]:
    """Return the parsed config. Raises UserError if it cannot be read or is not of UER-py."""
    config = read_json(path)
    if not isinstance(config, dict) or not is_uer_config(config):
        raise UserError(
            f"{path}: the file is not a UER-py model config, which is a JSON object with "
            "layers_num and heads_num."
        )
    return config


def is_shared(config: Mapping[str, Any]) -> bool:
    """Whether all layers share one set of weights (ALBERT)."""
    return bool(config.get("parameter_sharing"))


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
    for key, supported in _ONLY.items():
        if key in config and config[key] not in supported:
            raise UserError(
                f"{key} = {json.dumps(config[key])} is not supported. Supported: "
                f"{' or '.join(json.dumps(value) for value in supported)}."
            )
    check_mask(config)
    causal = is_causal(config)
    hidden, size = config["hidden_size"], config.get("emb_size", config["hidden_size"])
    factorised = bool(config.get("factorized_embedding_parameterization"))
    if factorised is not (size != hidden):
        raise UserError(
            f"emb_size = {size} and hidden_size = {hidden} contradict "
            f"factorized_embedding_parameterization = {json.dumps(factorised)}."
        )
    if causal and factorised:
        raise UserError(
            f"emb_size = {size} and hidden_size = {hidden} are not supported with target lm: the "
            "output layer has the width of the encoder in UER-py and of the embedding in ptm."
        )
    encoder = {
        "type": "transformer",
        **({"visibility": "causal"} if causal else {}),
        "layers": config["layers_num"],
        "hidden_size": hidden,
        "heads": config["heads_num"],
        "feed_forward_size": config["feedforward_size"],
        "activation": activation_from_uer(config),
        "norm_position": config.get("layernorm_positioning", "post"),
        "norm_epsilon": _EPSILON,
        "attention_scale": not config.get("remove_attention_scale", False),
        "residual_attention": bool(config.get("has_residual_attention", False)),
        "shared_groups": 1 if is_shared(config) else None,
    }
    embedding = {
        "parts": _parts(config),
        "layer_norm": not config.get("remove_embedding_layernorm", False),
        "positions": config.get("max_seq_length", 512),
        "size": size if factorised else None,
    }
    head = {"tied": tied}
    if causal:
        head["bias"] = bool(config.get("has_lmtarget_bias", False))
        return {
            "model": {
                "dropout": float(config.get("dropout", 0.1)),
                "embedding": embedding,
                "encoder": encoder,
            },
            "objective": {"type": "lm", "head": head},
        }
    objective = "mlm"
    if pairs:
        albert = config.get("data_processor") == "albert" or config.get("target") == "albert"
        objective = "albert" if albert or (factorised and is_shared(config)) else "bert"
    return {
        "model": {
            "dropout": float(config.get("dropout", 0.1)),
            "embedding": embedding,
            "encoder": encoder,
        },
        "objective": {"type": objective, "masking": {"unit": "token"}, "head": head},
    }


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
    encoder, embedding, head = model.encoder, model.embedding, getattr(objective, "head", None)
    causal = isinstance(objective, Lm)
    if not isinstance(encoder, Transformer) or not (causal or isinstance(head, MlmHead)):
        raise UserError(
            f"UER-py configs cannot express encoder {encoder.type} with objective "
            f"{objective.type}. They need a transformer with a masked-token or next-token "
            "objective."
        )
    _check_expressible(model, encoder)
    if isinstance(objective, Lm):
        check_output(model, objective.head)
    parts = {ours: theirs for theirs, ours in _PARTS.items()}
    config = {
        "emb_size": embedding.size or encoder.hidden_size,
        "feedforward_size": encoder.feed_forward_size,
        "hidden_size": encoder.hidden_size,
        "hidden_act": activation_to_uer(encoder.activation),
        "heads_num": encoder.heads,
        "layers_num": encoder.layers,
        "max_seq_length": embedding.positions,
        "dropout": model.dropout,
        "data_processor": objective.type if pairs or causal else "mlm",
        "embedding": [parts[name] for name in embedding.parts],
        "encoder": "transformer",
        "mask": "causal" if causal else "fully_visible",
        "target": ["lm"] if causal else ["mlm", "sp"] if pairs else ["mlm"],
        "tie_weights": getattr(head, "tied", False),
    }
    options = {
        "factorized_embedding_parameterization": embedding.size not in (None, encoder.hidden_size),
        "parameter_sharing": encoder.shared_groups is not None,
        "remove_embedding_layernorm": not embedding.layer_norm,
        "remove_attention_scale": not encoder.attention_scale,
        "has_residual_attention": encoder.residual_attention,
        "has_lmtarget_bias": causal and getattr(head, "bias", False),
    }
    config |= {key: True for key, value in options.items() if value}
    return config if encoder.norm_position == "post" else {**config, "layernorm_positioning": "pre"}


def _check_expressible(model: ModelBlock, encoder: Transformer) -> None:
    """Raise UserError naming the first option that UER-py configs cannot express."""
    can = {
        "encoder.visibility": encoder.visibility in ("full", "causal"),
        "encoder.position_bias": encoder.position_bias is None,
        "encoder.key_value_heads": encoder.key_value_heads in (None, encoder.heads),
        "encoder.head_size": encoder.head_shape.query_width == encoder.hidden_size,
        "embedding.scaled": not model.embedding.scaled,
        "encoder.feed_forward": encoder.feed_forward == "dense",
        "encoder.norm": encoder.norm == "layer",
        "encoder.bias": encoder.bias,
        "encoder.first_norm": encoder.first_norm,
        "encoder.rotary": encoder.rotary is None,
        "encoder.window": encoder.window is None,
        "encoder.shared_groups": encoder.shared_groups in (None, 1),
        "embedding.parts": set(model.embedding.parts) <= set(_PARTS.values())
        and model.embedding.has_position_table,
        "embedding.segments": model.embedding.segments <= 2,
    }
    for path, possible in can.items():
        if not possible:
            value = model
            for name in path.split("."):
                value = getattr(value, name)
            raise UserError(f"UER-py configs cannot express model.{path} = {value}.")
