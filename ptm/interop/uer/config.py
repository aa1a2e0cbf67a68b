"""UER-py's and TencentPretrain's model configs as blocks of a recipe, and back."""

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
    is_causal,
    refuse_other_mask,
    refuse_other_output,
)
from ptm.recipe.model_block import ModelBlock

_ACTIVATIONS = {"gelu": "gelu", "gelu_fast": "gelu_tanh", "relu": "relu", "silu": "silu"}
"""Theirs to ours."""
_PARTS = {"word": "word", "pos": "position", "seg": "segment"}
_EPSILON = 1e-12
"""Of the norms. Theirs divide by the standard deviation (over n - 1) plus 1e-6; of what can be said
here the epsilon that their converters write for transformers is nearest to that."""

# What a config may say besides sizes, and the values under which the model is one of this family.
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
    """Whether a JSON is one of theirs: its sizes have names that no other has."""
    return "heads_num" in config and "layers_num" in config


def read_uer_config(path: Path) -> dict[str, Any]:
    """The config. Raises UserError where it cannot be read or is another's."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}).") from error
    if not isinstance(config, dict) or not is_uer_config(config):
        raise UserError(
            f"{path}: is no model config of UER-py's, which have layers_num and heads_num."
        )
    return config


def is_shared(config: Mapping[str, Any]) -> bool:
    """Whether all layers are one (ALBERT)."""
    return bool(config.get("parameter_sharing"))


def has_pairs(config: Mapping[str, Any]) -> bool:
    """Whether its targets tell pairs of sentences apart."""
    target = config.get("target", "bert")
    return "sp" in target if isinstance(target, list) else target in ("bert", "albert")


def blocks_of(config: Mapping[str, Any], *, pairs: bool, tied: bool) -> dict[str, Any]:
    """A recipe's `model` and `objective`.

    Raises KeyError for a size that is missing, UserError for what is not supported.
    """
    for key, supported in _ONLY.items():
        if key in config and config[key] not in supported:
            raise UserError(
                f"the config says {key}: {json.dumps(config[key])}, which is not supported here; "
                f"{' or '.join(json.dumps(value) for value in supported)} is."
            )
    refuse_other_mask(config)
    causal = is_causal(config)
    hidden, size = config["hidden_size"], config.get("emb_size", config["hidden_size"])
    factorised = bool(config.get("factorized_embedding_parameterization"))
    if factorised is not (size != hidden):
        raise UserError(
            f"the config says emb_size: {size} and hidden_size: {hidden}, which does not go with "
            f"factorized_embedding_parameterization: {json.dumps(factorised)}."
        )
    if causal and factorised:
        raise UserError(
            f"the config says emb_size: {size} and hidden_size: {hidden} with the target lm, whose "
            "output layer is as wide as the encoder there and as the embedding here."
        )
    encoder = {
        "type": "transformer",
        **({"visibility": "causal"} if causal else {}),
        "layers": config["layers_num"],
        "hidden_size": hidden,
        "heads": config["heads_num"],
        "feed_forward_size": config["feedforward_size"],
        "activation": our_activation(config),
        "norm_position": config.get("layernorm_positioning", "post"),
        "norm_epsilon": _EPSILON,
        "attention_scale": not config.get("remove_attention_scale", False),
        "residual_attention": bool(config.get("has_residual_attention", False)),
        "shared_groups": 1 if is_shared(config) else None,
    }
    embedding = {
        "of": _parts(config),
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


def our_activation(config: Mapping[str, Any]) -> str:
    """Of the layers. Raises UserError for one that is not known here."""
    named = config.get("hidden_act", "gelu")
    if named not in _ACTIVATIONS:
        raise UserError(
            f'the config says hidden_act: "{named}", which is not supported here; '
            f"{', '.join(_ACTIVATIONS)} are."
        )
    return _ACTIVATIONS[named]


def their_activation(activation: str) -> str:
    """What they call it. Raises UserError for one that they have not."""
    for theirs, ours in _ACTIVATIONS.items():
        if ours == activation:
            return theirs
    raise UserError(
        f"model.encoder.activation = {activation} has no place in a config of UER-py's."
    )


def _parts(config: Mapping[str, Any]) -> list[str]:
    said = config.get("embedding", ["word", "pos", "seg"])
    if isinstance(said, str):
        said = ["word", "pos", "seg"] if said == "bert" else said.split("_")
    return [_PARTS[part] for part in said]


def uer_config(model: ModelBlock, objective: Objective, *, pairs: bool) -> dict[str, Any]:
    """Their config of a model of ours. Raises UserError where it cannot be one."""
    encoder, embedding, head = model.encoder, model.embedding, getattr(objective, "head", None)
    causal = isinstance(objective, Lm)
    if not isinstance(encoder, Transformer) or not (causal or isinstance(head, MlmHead)):
        raise UserError(
            f"a model with encoder {encoder.type} and objective {objective.type} has no place in "
            "UER-py's encoders with targets of masked or of next tokens."
        )
    _refuse_what_it_cannot_say(model, encoder)
    if isinstance(objective, Lm):
        refuse_other_output(model, objective.head)
    parts = {ours: theirs for theirs, ours in _PARTS.items()}
    config = {
        "emb_size": embedding.size or encoder.hidden_size,
        "feedforward_size": encoder.feed_forward_size,
        "hidden_size": encoder.hidden_size,
        "hidden_act": their_activation(encoder.activation),
        "heads_num": encoder.heads,
        "layers_num": encoder.layers,
        "max_seq_length": embedding.positions,
        "dropout": model.dropout,
        "data_processor": objective.type if pairs or causal else "mlm",
        "embedding": [parts[name] for name in embedding.of],
        "encoder": "transformer",
        "mask": "causal" if causal else "fully_visible",
        "target": ["lm"] if causal else ["mlm", "sp"] if pairs else ["mlm"],
        "tie_weights": getattr(head, "tied", False),
    }
    said = {
        "factorized_embedding_parameterization": embedding.size not in (None, encoder.hidden_size),
        "parameter_sharing": encoder.shared_groups is not None,
        "remove_embedding_layernorm": not embedding.layer_norm,
        "remove_attention_scale": not encoder.attention_scale,
        "has_residual_attention": encoder.residual_attention,
        "has_lmtarget_bias": causal and getattr(head, "bias", False),
    }
    config |= {key: True for key, value in said.items() if value}
    return config if encoder.norm_position == "post" else {**config, "layernorm_positioning": "pre"}


def _refuse_what_it_cannot_say(model: ModelBlock, encoder: Transformer) -> None:
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
        "embedding.of": set(model.embedding.of) <= set(_PARTS.values())
        and model.embedding.learns_positions,
        "embedding.segments": model.embedding.segments <= 2,
    }
    for path, possible in can.items():
        if not possible:
            value = model
            for name in path.split("."):
                value = getattr(value, name)
            raise UserError(f"model.{path} = {value} has no place in a config of UER-py's.")
