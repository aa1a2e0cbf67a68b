"""UER-py's encoder transformer: a stack of layers, or one layer that is used several times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptm.components.encoders import Encoder
from ptm.components.encoders.transformer import Transformer
from ptm.errors import UserError
from ptm.interop.uer.encoders.base import EncoderFormat, check_supported
from ptm.interop.uer.targets import BILM, MASKED, NEXT, parameter_names, target_in_config
from ptm.interop.weight_checks import concatenated

if TYPE_CHECKING:
    from torch import Tensor

# Config keys other than sizes, and the values that are supported.
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "embedding": (["word", "pos", "seg"], ["word", "pos"], "word_pos_seg", "word_pos", "bert"),
    "mask": ("fully_visible", "causal"),
    "feed_forward": ("dense",),
    "relative_position_embedding": (False,),
    "rotary_position_embedding": (False,),
    "use_alibi": (False,),
    "remove_transformer_bias": (False,),
}
_OUTER_LINEAR = {"embedding.projection": "encoder.linear"}
_OUTER_NORMS = {"encoder_norm": "encoder.layer_norm"}
_LAYER_LINEAR = {
    "attention.output": "self_attn.final_linear",
    "feed_forward.up": "feed_forward.linear_1",
    "feed_forward.down": "feed_forward.linear_2",
}
_LAYER_NORMS = {"attention_norm": "layer_norm_1", "feed_forward_norm": "layer_norm_2"}
_ATTENTION = "self_attn.linear_layers"
_KINDS = ("weight", "bias")


class TransformerStack(EncoderFormat):
    """A stack of transformer layers with the names of UER-py.

    Query, key and value are separate there and one matrix in `ptm`.
    """

    type = "transformer"

    def block(self, config: Mapping[str, Any]) -> dict[str, Any]:
        check_supported(config, _ONLY)
        _check_mask(config)
        return {
            "type": self.type,
            **({"visibility": "causal"} if config.get("mask") == "causal" else {}),
            "layers": config["layers_num"],
            "hidden_size": config["hidden_size"],
            "heads": config["heads_num"],
            "feed_forward_size": config["feedforward_size"],
            "norm_position": config.get("layernorm_positioning", "post"),
            "attention_scale": not config.get("remove_attention_scale", False),
            "residual_attention": bool(config.get("has_residual_attention", False)),
            "shared_groups": 1 if config.get("parameter_sharing") else None,
        }

    def config(self, encoder: Encoder) -> dict[str, Any]:
        assert isinstance(encoder, Transformer), "the encoder must be a transformer"
        _check_expressible(encoder)
        options = {
            "parameter_sharing": encoder.shared_groups is not None,
            "remove_attention_scale": not encoder.attention_scale,
            "has_residual_attention": encoder.residual_attention,
        }
        return {
            "encoder": self.type,
            "feedforward_size": encoder.feed_forward_size,
            "hidden_size": encoder.hidden_size,
            "heads_num": encoder.heads,
            "layers_num": encoder.layers,
            "mask": "causal" if encoder.visibility == "causal" else "fully_visible",
            **{key: True for key, value in options.items() if value},
            **({"layernorm_positioning": "pre"} if encoder.norm_position == "pre" else {}),
        }

    def from_uer(self, theirs: dict[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
        found = {o: theirs.pop(t) for o, t in _names(config).items() if t in theirs}
        for ours, prefix in _prefixes(config):
            for kind in _KINDS:
                names = [f"{prefix}{_ATTENTION}.{part}.{kind}" for part in range(3)]
                found[f"{ours}attention.qkv.{kind}"] = concatenated(
                    theirs, names, width=config["hidden_size"]
                )
                for name in names:
                    del theirs[name]
        return found

    def to_uer(self, ours: dict[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
        found = {t: ours.pop(o) for o, t in _names(config).items() if o in ours}
        for mine, prefix in _prefixes(config):
            for kind in _KINDS:
                for part, tensor in enumerate(ours.pop(f"{mine}attention.qkv.{kind}").chunk(3)):
                    found[f"{prefix}{_ATTENTION}.{part}.{kind}"] = tensor
        return found


def _check_mask(config: Mapping[str, Any]) -> None:
    """Raise UserError if the target needs another mask; a classifier may have either."""
    mask, target = config.get("mask", "fully_visible"), target_in_config(config)
    needs = {NEXT: "causal", MASKED: "fully_visible", BILM: "fully_visible"}
    if mask != needs.get(target, mask):
        raise UserError(
            f'mask = "{mask}" with target = {json.dumps(config.get("target"))} is not supported. '
            'Target "lm" needs mask "causal"; targets "mlm", "sp" and "bilm" need another mask.'
        )


def _prefixes(config: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the name prefix of each layer in `ptm` and in UER-py, with its trailing dot."""
    if config.get("parameter_sharing"):
        return (("encoder_group_00.", "encoder.transformer."),)
    return tuple(
        (f"encoder_{index:02}.", f"encoder.transformer.{index}.")
        for index in range(config["layers_num"])
    )


def _names(config: Mapping[str, Any]) -> dict[str, str]:
    """Map canonical to UER-py names for all tensors that both store in the same form.

    A model need not have all of them.
    """
    found = dict(parameter_names(_OUTER_LINEAR, _OUTER_NORMS))
    for ours, theirs in _prefixes(config):
        inside = parameter_names(_LAYER_LINEAR, _LAYER_NORMS)
        found |= {f"{ours}{name}": f"{theirs}{other}" for name, other in inside}
    return found


def _check_expressible(encoder: Transformer) -> None:
    """Raise UserError naming the first option that UER-py configs cannot express."""
    can = {
        "visibility": encoder.visibility in ("full", "causal"),
        "position_bias": encoder.position_bias is None,
        "key_value_heads": encoder.key_value_heads in (None, encoder.heads),
        "head_size": encoder.head_shape.query_width == encoder.hidden_size,
        "feed_forward": encoder.feed_forward == "dense",
        "norm": encoder.norm == "layer",
        "bias": encoder.bias,
        "first_norm": encoder.first_norm,
        "rotary": encoder.rotary is None,
        "window": encoder.window is None,
        "shared_groups": encoder.shared_groups in (None, 1),
    }
    for key, possible in can.items():
        if not possible:
            raise UserError(
                f"UER-py configs cannot express model.encoder.{key} = {getattr(encoder, key)}."
            )
