"""Convert UER-py and TencentPretrain configs of T5, BART and PEGASUS to recipe blocks, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ptm.component import Config
from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.interop.hf.shared.encoder_decoder import Stacks
from ptm.interop.hf.shared.naming import unsupported_option
from ptm.interop.uer.config import activation_from_uer, activation_to_uer
from ptm.recipe.model_block import ModelBlock

FIRST_POSITION_ROW = 2
"""Row of position 0 in imported models, as in transformers' BART; in UER-py it is row 0."""
_PARTS = {"word": "word", "pos": "position", "seg": "segment", "sinusoidalpos": "sinusoidal"}
_OBJECTIVES = ("t5", "bart", "gsg")
_RMS_EPSILON, _EPSILON = 1e-6, 1e-5
"""Epsilon of T5's RMS norms and of the layer norms of BART and PEGASUS.

UER-py's layer norms divide by the standard deviation plus 1e-6. 1e-5 is the value of transformers'
BART and PEGASUS, to which UER-py's own converters export.
"""

# Config keys other than sizes, and the values that are supported.
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "encoder": ("transformer",),
    "decoder": ("transformer",),
    "mask": ("fully_visible",),
    "layernorm": ("normal", "t5"),
    "layernorm_positioning": ("post", "pre"),
    "feed_forward": ("dense", "gated"),
    "target": (["lm"], "lm"),
    "data_processor": _OBJECTIVES,
    "share_embedding": (True,),
    "parameter_sharing": (False,),
    "factorized_embedding_parameterization": (False,),
    "has_residual_attention": (False,),
    "rotary_position_embedding": (False,),
    "use_alibi": (False,),
}
# Options in which encoder and decoder must agree.
_COMMON_OPTIONS = (
    *("heads", "head_size", "feed_forward_size", "feed_forward", "activation", "norm"),
    *("norm_position", "norm_epsilon", "bias", "attention_scale", "position_bias"),
)


def decodes(config: Mapping[str, Any]) -> bool:
    """Whether the config describes a model with a decoder."""
    return config.get("decoder") is not None


def blocks_of(config: Mapping[str, Any], *, tied: bool) -> dict[str, Any]:
    """Return the `model` and `objective` blocks of a recipe.

    `tied`: whether the output matrix is the word embedding. Raises KeyError for a missing size,
    UserError for an option that is not supported.
    """
    for key, supported in {**_ONLY, "emb_size": (config["hidden_size"],)}.items():
        if key in config and config[key] not in supported:
            raise UserError(
                f"{key} = {json.dumps(config[key])} is not supported with a decoder. Supported: "
                f"{' or '.join(json.dumps(value) for value in supported)}."
            )
    if not config.get("share_embedding", False):
        raise UserError(
            "share_embedding is not true: separate word embeddings for encoder and decoder are not "
            "supported."
        )
    parts = config["embedding"]
    if config["tgt_embedding"] != parts:
        raise UserError(
            f"embedding = {json.dumps(parts)} and tgt_embedding = "
            f"{json.dumps(config['tgt_embedding'])} differ, which is not supported. Supported: "
            "equal values."
        )
    stack = _stack(config)
    return {
        "model": {
            "dropout": float(config.get("dropout", 0.1)),
            "embedding": _embedding(config, parts),
            "encoder": {**stack, "layers": config["layers_num"]},
            "decoder": {**stack, "layers": config["decoder_layers_num"]},
        },
        "objective": {
            "type": config.get("data_processor", "bart"),
            "head": {"tied": tied, "bias": bool(config.get("has_lmtarget_bias", False))},
        },
    }


def _stack(config: Mapping[str, Any]) -> dict[str, Any]:
    rms = config.get("layernorm", "normal") == "t5"
    # UER-py sets these options independently; only T5's combinations, or neither, are supported.
    removed = {
        "remove_transformer_bias": rms,
        "relative_position_embedding": bool(config.get("remove_attention_scale", False)),
    }
    for key, together in removed.items():
        if bool(config.get(key, False)) is not together:
            other = (
                'layernorm = "t5"' if key == "remove_transformer_bias" else "remove_attention_scale"
            )
            raise UserError(
                f"{key} = {json.dumps(config.get(key, False))} is not supported: {key} and {other} "
                "must be set together."
            )
    stack = {
        "type": "transformer",
        "hidden_size": config["hidden_size"],
        "heads": config["heads_num"],
        "feed_forward_size": config["feedforward_size"],
        "feed_forward": config.get("feed_forward", "dense"),
        "activation": activation_from_uer(config),
        "norm": "rms" if rms else "layer",
        "norm_position": config.get("layernorm_positioning", "post"),
        "norm_epsilon": _RMS_EPSILON if rms else _EPSILON,
        "bias": not rms,
        "attention_scale": not config.get("remove_attention_scale", False),
    }
    size = config.get("attention_head_size")
    if size is not None and size * config["heads_num"] != config["hidden_size"]:
        stack["head_size"] = size
    if config.get("relative_position_embedding"):
        stack["position_bias"] = {"buckets": config.get("relative_attention_buckets_num", 32)}
    return stack


def _embedding(config: Mapping[str, Any], parts: list[str]) -> dict[str, Any]:
    unknown = [part for part in parts if part not in _PARTS]
    if unknown:
        raise UserError(f'embedding part "{unknown[0]}" is not supported.')
    normal = not config.get("remove_embedding_layernorm", False)
    if normal and config.get("layernorm") == "t5":
        raise UserError(
            'layernorm = "t5" without remove_embedding_layernorm = true is not supported: the '
            "embedding and the layers would have norms of two kinds."
        )
    found: dict[str, Any] = {"parts": [_PARTS[part] for part in parts], "layer_norm": normal}
    longest = config.get("max_seq_length", 512)
    if "pos" in parts:
        return {
            **found,
            "positions": longest + FIRST_POSITION_ROW,
            "position_offset": FIRST_POSITION_ROW,
        }
    if "sinusoidalpos" in parts:
        return {**found, "positions": longest, "scaled": True, "sinusoidal_order": "uer"}
    return {**found, "positions": longest}


def config_of(model: ModelBlock, objective: Objective) -> dict[str, Any]:
    """Return the UER-py config of a `ptm` model. Raises UserError if UER-py cannot express it."""
    _check_expressible(model, objective)
    stacks = Stacks.of(model, objective)
    encoder, embedding = stacks.encoder, model.embedding
    parts = {ours: theirs for theirs, ours in _PARTS.items()}
    names = [parts[name] for name in embedding.parts]
    config = {
        "emb_size": encoder.hidden_size,
        "feedforward_size": encoder.feed_forward_size,
        "hidden_size": encoder.hidden_size,
        "hidden_act": activation_to_uer(encoder.activation),
        "heads_num": encoder.heads,
        "layers_num": encoder.layers,
        "decoder_layers_num": stacks.decoder.layers,
        "max_seq_length": embedding.positions - embedding.position_offset,
        "dropout": model.dropout,
        "data_processor": objective.type,
        "embedding": names,
        "tgt_embedding": names,
        "share_embedding": True,
        "encoder": "transformer",
        "mask": "fully_visible",
        "decoder": "transformer",
        "target": ["lm"],
        "tie_weights": stacks.head.tied,
    }
    options: dict[str, tuple[bool, Any]] = {
        "attention_head_size": (
            encoder.head_shape.query_width != encoder.hidden_size,
            encoder.head_size,
        ),
        "feed_forward": (encoder.feed_forward == "gated", "gated"),
        "layernorm": (encoder.norm == "rms", "t5"),
        "layernorm_positioning": (encoder.norm_position == "pre", "pre"),
        "remove_transformer_bias": (not encoder.bias, True),
        "remove_attention_scale": (not encoder.attention_scale, True),
        "remove_embedding_layernorm": (not embedding.layer_norm, True),
        "relative_position_embedding": (encoder.position_bias is not None, True),
        "has_lmtarget_bias": (stacks.head.bias, True),
    }
    config |= {key: value for key, (is_so, value) in options.items() if is_so}
    if encoder.position_bias is not None:
        config["relative_attention_buckets_num"] = encoder.position_bias.buckets
    return config


def _check_expressible(model: ModelBlock, objective: Objective) -> None:
    """Raise UserError naming the first option that UER-py configs cannot express."""
    assert model.decoder is not None, "the model must have a decoder"
    encoder, decoder, here = model.encoder, model.decoder, model.embedding
    there = model.decoder_embedding.model_dump(exclude={"shared"})
    parts: dict[str, Config] = {"model.encoder": encoder, "model.decoder": decoder}
    reasons = [
        unsupported_option(part, name, expressible=_COMMON_OPTIONS) for name, part in parts.items()
    ]
    for key in _COMMON_OPTIONS:
        mine, other = getattr(encoder, key, None), getattr(decoder, key, None)
        if mine != other:
            reasons.append(f"it has model.encoder.{key} = {mine} but model.decoder.{key} = {other}")
    for key, value in here.model_dump().items():
        if there[key] != value:
            reasons.append(f"it has model.embedding.{key} = {value} on one side only")
    if not model.decoder_embedding.shared:
        reasons.append("it has model.target_embedding.shared = False")
    reasons.append(
        unsupported_option(
            here, "model.embedding", expressible=_expressible_embedding_options(model)
        )
    )
    reasons += _uncoupled_options(model, objective)
    found = next((reason for reason in reasons if reason is not None), None)
    if found is not None:
        raise UserError(f"UER-py configs cannot express this model: {found}.")


def _expressible_embedding_options(model: ModelBlock) -> tuple[str, ...]:
    """Return the options of the embedding that UER-py configs can express."""
    return (
        *("parts", "layer_norm", "positions", "position_offset"),
        *(("scaled", "sinusoidal_order") if "sinusoidal" in model.embedding.parts else ()),
        *(("size",) if model.embedding.size == model.encoder.hidden_size else ()),
    )


def _uncoupled_options(model: ModelBlock, objective: Objective) -> list[str | None]:
    """Return the options that UER-py couples to others and that this model sets independently."""
    stacks = Stacks.of(model, objective)
    encoder, embedding = stacks.encoder, model.embedding
    bias = encoder.position_bias
    waves = "sinusoidal" in embedding.parts
    wrong = {
        f"model.encoder.bias = {encoder.bias}": encoder.bias is not (encoder.norm == "layer"),
        f"model.encoder.attention_scale = {encoder.attention_scale}": encoder.attention_scale
        is not (bias is None),
        "model.encoder.position_bias.max_distance": bias is not None and bias.max_distance != 128,
        "model.embedding.layer_norm = True": embedding.layer_norm and encoder.norm == "rms",
        f"model.embedding.scaled = {embedding.scaled}": embedding.scaled is not waves,
        f"model.embedding.sinusoidal_order = {embedding.sinusoidal_order}": waves
        and embedding.sinusoidal_order != "uer",
        "objective.head.scaled = True": stacks.head.scaled and encoder.norm_position == "post",
        f"objective.type = {objective.type}": objective.type not in _OBJECTIVES,
    }
    return [f"it has {name}" for name, is_so in wrong.items() if is_so]
