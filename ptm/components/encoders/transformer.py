"""The transformer encoder (Vaswani et al. 2017) and its variants.

The defaults give BERT's layers. ALBERT shares weights between layers; RealFormer adds the attention
scores of each layer to those of the next; ModernBERT has gated feed-forward layers, rotary
positions and windows, and no biases. With visibility `causal` this is the decoder-only model of GPT
and LLaMA, with visibility `prefix` that of UniLM.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import model_validator

from ptm.component import Config, LayerCount, PositiveFloat, PositiveInt
from ptm.components.encoders.base import Encoder
from ptm.components.transformer_stack import TransformerStack
from ptm.nn.model_shape import ModelShape
from ptm.plan import Operation

if TYPE_CHECKING:
    from torch import nn

    from ptm.nn.attention_mask import AttentionPattern

_POSITION_BIAS = "encoder_position_bias"


class Rotary(Config):
    """Rotary position embeddings: rotations of query and key (Su et al. 2021)."""

    theta: PositiveFloat = 10_000.0
    """Base of the frequencies: the longest wavelength is about 2 pi theta."""
    local_theta: PositiveFloat | None = None
    """Theta of the layers with a window; the same as `theta` if left out."""


class Transformer(TransformerStack, Encoder):
    """A stack of layers of self-attention and feed-forward."""

    type: Literal["transformer"]
    first_norm: bool = True
    """Whether the first pre-norm layer has a norm before its attention (ModernBERT has none: the
    norm of the embedding comes right before it)."""
    residual_attention: bool = False
    """Add the attention scores of each layer to those of the next (RealFormer)."""
    rotary: Rotary | None = None
    """Rotary position embeddings, if given."""
    window: PositiveInt | None = None
    """Number of tokens around itself that a token attends to, half on either side; all tokens of
    the example if left out."""
    global_every: PositiveInt | None = None
    """Every `global_every`-th layer, starting with the first, ignores `window` and attends to the
    whole example."""
    shared_groups: LayerCount | None = None
    """Number of groups of consecutive layers that share their weights (ALBERT). If left out, every
    layer has its own."""

    supports_packing: ClassVar[bool] = True

    @model_validator(mode="after")
    def _check_rotary_and_first_norm(self) -> Transformer:
        if self.rotary and self.head_shape.head_size % 2:
            raise ValueError(
                "rotary position embeddings need an even head size, but the head size is "
                f"{self.head_shape.head_size} (head_size, or hidden_size = {self.hidden_size} "
                f"divided by heads = {self.heads}). Change one of them."
            )
        if not self.first_norm and self.norm_position == "post":
            raise ValueError(
                "first_norm = false is for pre-norm layers, but norm_position is post. Set "
                "norm_position: pre or remove first_norm."
            )
        return self

    @model_validator(mode="after")
    def _check_windows(self) -> Transformer:
        if self.window is not None and self.window % 2:
            raise ValueError(
                f"window = {self.window} is odd, but half of the window is on either side of a "
                "token. Set an even number."
            )
        if self.window is None and self.global_every is not None:
            raise ValueError(
                f"global_every = {self.global_every} selects the layers that ignore the window, "
                "but window is not set. Set window or remove global_every."
            )
        if self.window is None and self.rotary and self.rotary.local_theta is not None:
            raise ValueError(
                f"rotary.local_theta = {self.rotary.local_theta:g} is for layers with a window, "
                "but window is not set. Set window or remove rotary.local_theta."
            )
        return self

    @model_validator(mode="after")
    def _check_shared_groups(self) -> Transformer:
        groups = self.shared_groups
        if groups is not None and self.layers % groups:
            raise ValueError(
                f"shared_groups = {groups} does not divide layers = {self.layers}. Set a divisor "
                "of layers."
            )
        if groups is not None and (self.global_every is not None or not self.first_norm):
            which = (
                "first_norm = false"
                if not self.first_norm
                else f"global_every = {self.global_every}"
            )
            raise ValueError(
                f"{which} makes layers differ, but shared_groups = {groups} shares their weights. "
                "Use only one of them."
            )
        return self

    @model_validator(mode="after")
    def _check_residual_attention(self) -> Transformer:
        if not self.residual_attention:
            return self
        if self.rotary:
            raise ValueError(
                "residual_attention = true is not supported with rotary, because it needs scores "
                "of absolute positions. Remove one of them."
            )
        others = {
            "position_bias": self.position_bias is not None,
            "key_value_heads": self.key_value_heads is not None,
            f"visibility = {self.visibility}": self.visibility != "full",
        }
        for name, chosen in others.items():
            if chosen:
                raise ValueError(
                    f"residual_attention = true is not supported with {name}. Remove one of them."
                )
        return self

    @property
    def residual_branches(self) -> int:
        return 2 * self.layers

    def residual_outputs(self) -> tuple[str, ...]:
        return ("attention.output.weight", "feed_forward.down.weight")

    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        # One operation per layer; a pre-norm stack needs a norm after the last layer.
        return (
            *self.position_bias_operations(
                _POSITION_BIAS, reads="example_ids", bidirectional=self.visibility == "full"
            ),
            *(self._operation(index, shape) for index in range(self.layers)),
            *self.final_norm("encoder_norm", shape),
        )

    def group(self, index: int) -> str | None:
        """The tie of the weights that layer `index` shares with others; None without sharing."""
        if self.shared_groups is None:
            return None
        return f"encoder_group_{index * self.shared_groups // self.layers:02}"

    def is_global(self, index: int) -> bool:
        """Whether layer `index` attends to the whole example instead of a window."""
        if self.window is None:
            return True
        return self.global_every is not None and index % self.global_every == 0

    @property
    def _extra_inputs(self) -> dict[str, str]:
        """Further inputs of self-attention: keyword argument -> name of the plan's tensor."""
        extra_inputs = {}
        if self.rotary:
            extra_inputs["position_ids"] = "position_ids"
        if self.visibility == "prefix":
            extra_inputs["segment_ids"] = "segment_ids"
        if self.position_bias:
            extra_inputs["position_bias"] = _POSITION_BIAS
        return extra_inputs

    def _operation(self, index: int, shape: ModelShape) -> Operation:
        reads, writes, options = (
            ["hidden", "example_ids", *self._extra_inputs.values()],
            ["hidden"],
            {},
        )
        if self.residual_attention:
            last = index == self.layers - 1
            options["last"] = last
            if index > 0:
                reads.append("scores")
            # No operation reads the scores of the last layer, and a floating-point tensor that is
            # passed on must receive a gradient.
            if not last:
                writes.append("scores")
        return Operation(
            f"encoder_{index:02}",
            partial(self._layer, index, shape),
            tuple(reads),
            tuple(writes),
            tie=self.group(index),
            options=options,
            block=True,
        )

    def _layer(self, index: int, shape: ModelShape) -> nn.Module:
        from ptm.nn.attention import ResidualAttention, SelfAttention
        from ptm.nn.attention_mask import AttentionPattern
        from ptm.nn.transformer_layer import ResidualAttentionLayer, TransformerLayer

        pattern = AttentionPattern(self.visibility, None if self.is_global(index) else self.window)
        first_norm = self.first_norm or index > 0
        if self.residual_attention:
            return ResidualAttentionLayer(
                ResidualAttention(
                    self.head_shape, dropout=shape.attention_dropout, pattern=pattern
                ),
                self.build_feed_forward(),
                shape,
                pre_norm=self.pre_norm,
                first_norm=first_norm,
            )
        return TransformerLayer(
            SelfAttention(
                self.head_shape,
                dropout=shape.attention_dropout,
                pattern=pattern,
                theta=self._theta(pattern),
            ),
            self.build_feed_forward(),
            shape,
            pre_norm=self.pre_norm,
            first_norm=first_norm,
            extra_inputs=tuple(self._extra_inputs),
        )

    def _theta(self, pattern: AttentionPattern) -> float | None:
        if self.rotary is None:
            return None
        local = self.rotary.local_theta if pattern.window is not None else None
        return local or self.rotary.theta
