"""Transformer layers of UER-py and TencentPretrain, and the encoder that is a stack of them.

TencentPretrain has more options than UER-py: RMS norms of another name, rotary positions, and fewer
key and value heads. They are imported, but not exported, because UER-py would ignore them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ptm.components.encoders import Encoder
from ptm.components.encoders.transformer import Transformer
from ptm.components.transformer_stack import TransformerStack as Stack
from ptm.errors import UserError
from ptm.interop.uer.encoders.base import EncoderFormat, check_supported
from ptm.interop.uer.entries import (
    LAYER_EPSILON,
    RMS_EPSILON,
    Entry,
    StateDict,
    give,
    layer_norm,
    linear,
    table,
    take,
)

if TYPE_CHECKING:
    from torch import Tensor

# Config keys other than sizes, and the values that are supported.
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "layernorm": ("normal", "t5", "rms"),
    "layernorm_positioning": ("post", "pre"),
    "feed_forward": ("dense", "gated"),
}
_MASKS = {
    "fully_visible": "full",
    "causal": "causal",
    "causal_with_prefix": "prefix",
    "prefix": "prefix",
}
"""UER-py's mask to `visibility`; it treats every unknown mask as one with a prefix."""
_TABLE = "relative_attention_bias.weight"
_THETA = 10000.0


def has_rms_norms(config: Mapping[str, Any]) -> bool:
    """Whether the layers have RMS norms; embeddings and targets have layer norms in any case."""
    return bool(config.get("layernorm", "normal") != "normal")


def stack_block(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that encoder and decoder have in common, without layers and activation.

    Raises KeyError for a missing size, UserError for an option that is not supported.
    """
    check_supported(config, _ONLY)
    rms, biased = has_rms_norms(config), not config.get("remove_transformer_bias", False)
    if not rms and not biased:
        raise UserError(
            'remove_transformer_bias = true with layernorm = "normal" is not supported: ptm\'s '
            "layers without biases have norms without biases."
        )
    heads = config["heads_num"]
    block = {
        "type": "transformer",
        "hidden_size": config["hidden_size"],
        "heads": heads,
        "feed_forward_size": config["feedforward_size"],
        "feed_forward": config.get("feed_forward", "dense"),
        "norm": "rms" if rms else "layer",
        "norm_position": config.get("layernorm_positioning", "post"),
        "norm_epsilon": _epsilon(config, rms=rms),
        "bias": biased,
        "attention_scale": not config.get("remove_attention_scale", False),
    }
    if head_size(config) * heads != config["hidden_size"]:
        block["head_size"] = head_size(config)
    if config.get("local_kv_heads_num", heads) != heads:
        block["key_value_heads"] = config["local_kv_heads_num"]
    if config.get("relative_position_embedding"):
        block["position_bias"] = {"buckets": config.get("relative_attention_buckets_num", 32)}
    return block


def _epsilon(config: Mapping[str, Any], *, rms: bool) -> float:
    given = float(config.get("layernorm_eps", RMS_EPSILON))
    if rms:
        return given
    if given > RMS_EPSILON:
        raise UserError(
            f'layernorm_eps = {given:g} with layernorm = "normal" is not supported: it is added to '
            "the deviation, and ptm adds an epsilon to the variance."
        )
    return LAYER_EPSILON


def head_size(config: Mapping[str, Any]) -> int:
    """Return the width of an attention head."""
    given = config.get("attention_head_size")
    return int(config["hidden_size"] // config["heads_num"] if given is None else given)


def stack_config(stack: Stack) -> dict[str, Any]:
    """Return the config keys of what encoder and decoder have in common."""
    rms, bias = stack.norm == "rms", stack.position_bias
    options: dict[str, tuple[bool, Any]] = {
        "attention_head_size": (
            stack.head_shape.query_width != stack.hidden_size,
            stack.head_shape.head_size,
        ),
        "feed_forward": (stack.feed_forward == "gated", "gated"),
        "layernorm": (rms, "t5"),
        "layernorm_positioning": (stack.pre_norm, "pre"),
        "remove_transformer_bias": (rms and not stack.bias, True),
        "remove_attention_scale": (not stack.attention_scale, True),
        "relative_position_embedding": (bias is not None, True),
        "relative_attention_buckets_num": (bias is not None, bias and bias.buckets),
    }
    return {
        "feedforward_size": stack.feed_forward_size,
        "hidden_size": stack.hidden_size,
        "heads_num": stack.heads,
        "layers_num": stack.layers,
        **{key: value for key, (is_so, value) in options.items() if is_so},
    }


def norm(ours: str, theirs: str, config: Mapping[str, Any]) -> list[Entry]:
    """Return the entries of a norm of a layer or of a stack."""
    return [table(ours, theirs)] if has_rms_norms(config) else layer_norm(ours, theirs)


def self_attention(ours: str, theirs: str, config: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the entries of the projections of self-attention."""
    rows = _projection_rows(config)
    rotary: tuple[int, ...] = ()
    if config.get("rotary_position_embedding"):
        rotary = (config["heads_num"], config.get("local_kv_heads_num", config["heads_num"]), 0)
    for kind in _kinds(config):
        names = tuple(f"{theirs}.linear_layers.{part}.{kind}" for part in range(3))
        yield Entry(f"{ours}.qkv.{kind}", names, rows=rows, rotary=rotary)
        yield Entry(f"{ours}.output.{kind}", (f"{theirs}.final_linear.{kind}",))


def cross_attention(ours: str, theirs: str, config: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the entries of the projections of a decoder's attention to the encoder."""
    rows = _projection_rows(config)
    for kind in _kinds(config):
        query, *others = (f"{theirs}.linear_layers.{part}.{kind}" for part in range(3))
        yield Entry(f"{ours}.query.{kind}", (query,))
        yield Entry(f"{ours}.key_value.{kind}", tuple(others), rows=rows[1:])
        yield Entry(f"{ours}.output.{kind}", (f"{theirs}.final_linear.{kind}",))


def feed_forward(ours: str, theirs: str, config: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the entries of a feed-forward layer."""
    size = config["feedforward_size"]
    for kind in _kinds(config):
        if config.get("feed_forward") == "gated":
            names = tuple(f"{theirs}.{part}.{kind}" for part in ("linear_gate", "linear_1"))
            yield Entry(f"{ours}.gate_up.{kind}", names, rows=(size, size))
        else:
            yield Entry(f"{ours}.up.{kind}", (f"{theirs}.linear_1.{kind}",))
        yield Entry(f"{ours}.down.{kind}", (f"{theirs}.linear_2.{kind}",))


def relative_positions(ours: str, theirs: str, config: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the entry of a table of relative positions, if there is one.

    UER-py scales the attention scores after it has added the bias; `ptm` scales them before.
    """
    if config.get("relative_position_embedding"):
        scaled = not config.get("remove_attention_scale", False)
        factor = head_size(config) ** -0.5 if scaled else 1.0
        yield replace(table(ours, f"{theirs}.relative_attention_bias"), factor=factor)


def _projection_rows(config: Mapping[str, Any]) -> tuple[int, int, int]:
    heads, size = config["heads_num"], head_size(config)
    others = config.get("local_kv_heads_num", heads) * size
    return heads * size, others, others


def _kinds(config: Mapping[str, Any]) -> tuple[str, ...]:
    return ("weight",) if config.get("remove_transformer_bias") else ("weight", "bias")


class TransformerStack(EncoderFormat):
    """A stack of layers with weights of their own, or one layer that is used several times."""

    type = "transformer"

    def block(self, config: Mapping[str, Any]) -> dict[str, Any]:
        check_supported(config, {"mask": tuple(_MASKS)})
        visibility = _MASKS[config.get("mask", "fully_visible")]
        if visibility != "full" and config.get("relative_position_embedding"):
            raise UserError(
                f'relative_position_embedding = true with mask = "{config["mask"]}" is not '
                "supported: UER-py's encoders have separate buckets for both directions."
            )
        optional = {
            "visibility": (visibility != "full", visibility),
            "residual_attention": (bool(config.get("has_residual_attention")), True),
            "shared_groups": (bool(config.get("parameter_sharing")), 1),
            "rotary": (bool(config.get("rotary_position_embedding")), {"theta": _THETA}),
        }
        return {
            **stack_block(config),
            "layers": config["layers_num"],
            **{key: value for key, (is_so, value) in optional.items() if is_so},
        }

    def config(self, encoder: Encoder) -> dict[str, Any]:
        assert isinstance(encoder, Transformer), "the encoder must be a transformer"
        masks = {ours: theirs for theirs, ours in reversed(_MASKS.items())}
        options = {
            "parameter_sharing": encoder.shared_groups is not None,
            "has_residual_attention": encoder.residual_attention,
        }
        return {
            "encoder": self.type,
            **stack_config(encoder),
            "mask": masks[encoder.visibility],
            **{key: True for key, value in options.items() if value},
        }

    def from_uer(self, theirs: StateDict, config: Mapping[str, Any]) -> dict[str, Tensor]:
        _take_tables_of_layers(theirs, config)
        return take(theirs, _entries(config))

    def to_uer(self, ours: dict[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
        found = give(ours, _entries(config))
        common = found.get(f"encoder.relative_pos_emb.{_TABLE}")
        return found if common is None else found | dict.fromkeys(_layer_tables(config), common)


def _layer_tables(config: Mapping[str, Any]) -> list[str]:
    return [f"{theirs}relative_pos_emb.{_TABLE}" for _, theirs in _prefixes(config)]


def _take_tables_of_layers(theirs: StateDict, config: Mapping[str, Any]) -> None:
    """Replace the table of relative positions of TencentPretrain's stack by that of its layers.

    TencentPretrain's layers share one module, which its state dicts hold once per layer. The stack
    has another table, which is not used. Raises UserError if the tables of the layers differ.
    """
    import torch

    names = [name for name in _layer_tables(config) if name in theirs]
    tables = [theirs.pop(name) for name in names]
    if not tables or not config.get("relative_position_embedding"):
        theirs.update(zip(names, tables, strict=True))
        return
    for name, one in zip(names, tables, strict=True):
        if not torch.equal(one, tables[0]):
            raise UserError(
                f"{name} differs from {names[0]}, but the layers of TencentPretrain share one "
                "table of relative positions."
            )
    theirs[f"encoder.relative_pos_emb.{_TABLE}"] = tables[0]


def _prefixes(config: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the name prefix of each layer in `ptm` and in UER-py, with its trailing dot."""
    if config.get("parameter_sharing"):
        return (("encoder_group_00.", "encoder.transformer."),)
    return tuple(
        (f"encoder_{index:02}.", f"encoder.transformer.{index}.")
        for index in range(config["layers_num"])
    )


def _entries(config: Mapping[str, Any]) -> Iterator[Entry]:
    if config.get("factorized_embedding_parameterization"):
        yield from linear("embedding.projection", "encoder.linear")
    yield from relative_positions("encoder_position_bias", "encoder.relative_pos_emb", config)
    for ours, theirs in _prefixes(config):
        yield from self_attention(f"{ours}attention", f"{theirs}self_attn", config)
        yield from feed_forward(f"{ours}feed_forward", f"{theirs}feed_forward", config)
        for number, name in enumerate(("attention_norm", "feed_forward_norm"), start=1):
            yield from norm(f"{ours}{name}", f"{theirs}layer_norm_{number}", config)
    if config.get("layernorm_positioning") == "pre":
        yield from norm("encoder_norm", "encoder.layer_norm", config)
