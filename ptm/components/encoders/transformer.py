"""The transformer encoder (Vaswani et al. 2017) and those that differ from it in parts.

BERT's layers by default; ALBERT shares them, RealFormer adds the scores of attention to the next
layer's, ModernBERT has gates, rotary positions and windows, and no biases. With causal visibility
it is the decoder-only model of GPT and LLaMA, with a visible prefix that of UniLM.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import model_validator

from ptm.component import Config, PositiveFloat, PositiveInt
from ptm.components.encoders.base import Encoder
from ptm.components.transformer_stack import TransformerStack
from ptm.nn.model_shape import ModelShape
from ptm.plan import Step

if TYPE_CHECKING:
    from torch import nn

    from ptm.nn.visibility import Sight

_POSITION_BIAS = "encoder_position_bias"


class Rotary(Config):
    """Positions as rotations of query and key (Su et al. 2021)."""

    theta: PositiveFloat = 10_000.0
    """The longest wavelength, over two pi."""
    local_theta: PositiveFloat | None = None
    """The same in layers that see a window; as `theta` if left out."""


class Transformer(TransformerStack, Encoder):
    """Layers of self-attention and feed-forward."""

    type: Literal["transformer"]
    first_norm: bool = True
    """Whether the first of pre-norm layers normalises what its attention reads (ModernBERT's does
    not: the embedding's norm stands right before it)."""
    residual_attention: bool = False
    """Add the scores of each layer's attention to those of the next (RealFormer)."""
    rotary: Rotary | None = None
    window: PositiveInt | None = None
    """Tokens around itself that a token sees, half of them on either side; none: all."""
    global_every: PositiveInt | None = None
    """The first of so many layers sees all of its example in spite of `window`."""
    shared_groups: PositiveInt | None = None
    """Groups of consecutive layers that share their weights (ALBERT); none: every layer its own."""

    separates_examples: ClassVar[bool] = True

    @model_validator(mode="after")
    def _consistent(self) -> Transformer:
        if self.rotary and self.head_shape.head_size % 2:
            raise ValueError(
                "rotary positions turn pairs, but the size of a head is "
                f"{self.head_shape.head_size}, an odd number (head_size, or hidden_size = "
                f"{self.hidden_size} over heads = {self.heads})"
            )
        if not self.first_norm and self.norm_position == "post":
            raise ValueError(
                "first_norm = false is for layers that begin with a norm: set norm_position: pre"
            )
        return self

    @model_validator(mode="after")
    def _windows_make_sense(self) -> Transformer:
        if self.window is not None and self.window % 2:
            raise ValueError(f"window = {self.window} is odd: half of it lies on either side")
        if self.window is None and self.global_every is not None:
            raise ValueError(
                f"global_every = {self.global_every} is an exception to a window: set window too"
            )
        if self.window is None and self.rotary and self.rotary.local_theta is not None:
            raise ValueError(
                f"rotary.local_theta = {self.rotary.local_theta:g} is for layers with a window: "
                "set window too"
            )
        return self

    @model_validator(mode="after")
    def _layers_can_be_shared(self) -> Transformer:
        groups = self.shared_groups
        if groups is not None and self.layers % groups:
            raise ValueError(f"shared_groups = {groups} does not divide layers = {self.layers}")
        if groups is not None and (self.global_every is not None or not self.first_norm):
            which = (
                "first_norm = false"
                if not self.first_norm
                else f"global_every = {self.global_every}"
            )
            raise ValueError(
                f"{which} makes layers differ, but shared_groups = {groups} makes them one"
            )
        return self

    @model_validator(mode="after")
    def _scores_can_be_handed_on(self) -> Transformer:
        if not self.residual_attention:
            return self
        if self.rotary:
            raise ValueError(
                "residual_attention = true adds scores that know absolute positions; with rotary "
                "it is not supported"
            )
        others = {
            "position_bias": self.position_bias is not None,
            "key_value_heads": self.key_value_heads is not None,
            f"visibility = {self.visibility}": self.visibility != "full",
        }
        for name, chosen in others.items():
            if chosen:
                raise ValueError(f"residual_attention = true is not supported with {name}")
        return self

    @property
    def residual_branches(self) -> int:
        """Attention and feed-forward of every layer."""
        return 2 * self.layers

    def residual_outputs(self) -> tuple[str, ...]:
        """The last matrix of each branch."""
        return ("attention.output.weight", "feed_forward.down.weight")

    def steps(self, shape: ModelShape) -> tuple[Step, ...]:
        """One step a layer, after what all of them are told; pre-norm needs a norm at the end."""
        return (
            *self.bias_step(
                _POSITION_BIAS, reads="example_ids", bidirectional=self.visibility == "full"
            ),
            *(self._step(index, shape) for index in range(self.layers)),
            *self.last_norm("encoder_norm", shape),
        )

    def group(self, index: int) -> str | None:
        """The key of the weights that layer `index` shares with others."""
        if self.shared_groups is None:
            return None
        return f"encoder_group_{index * self.shared_groups // self.layers:02}"

    def is_global(self, index: int) -> bool:
        """Whether layer `index` sees all of its example."""
        if self.window is None:
            return True
        return self.global_every is not None and index % self.global_every == 0

    @property
    def _told(self) -> dict[str, str]:
        """What attention is told, and which tensors of the plan that is."""
        told = {}
        if self.rotary:
            told["position_ids"] = "position_ids"
        if self.visibility == "prefix":
            told["segment_ids"] = "segment_ids"
        if self.position_bias:
            told["position_bias"] = _POSITION_BIAS
        return told

    def _step(self, index: int, shape: ModelShape) -> Step:
        reads, writes, options = ["hidden", "example_ids", *self._told.values()], ["hidden"], {}
        if self.residual_attention:
            last = index == self.layers - 1
            options["last"] = last
            if index > 0:
                reads.append("scores")
            # Nobody would read the last layer's, and a tensor without a gradient may not cross.
            if not last:
                writes.append("scores")
        return Step(
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
        from ptm.nn.transformer_layer import ResidualAttentionLayer, TransformerLayer
        from ptm.nn.visibility import Sight

        sight = Sight(self.visibility, None if self.is_global(index) else self.window)
        first_norm = self.first_norm or index > 0
        if self.residual_attention:
            return ResidualAttentionLayer(
                ResidualAttention(self.head_shape, dropout=shape.attention_dropout, sight=sight),
                self.built_feed_forward(),
                shape,
                pre_norm=self.pre_norm,
                first_norm=first_norm,
            )
        return TransformerLayer(
            SelfAttention(
                self.head_shape,
                dropout=shape.attention_dropout,
                sight=sight,
                theta=self._theta(sight),
            ),
            self.built_feed_forward(),
            shape,
            pre_norm=self.pre_norm,
            first_norm=first_norm,
            told=tuple(self._told),
        )

    def _theta(self, sight: Sight) -> float | None:
        if self.rotary is None:
            return None
        local = self.rotary.local_theta if sight.window is not None else None
        return local or self.rotary.theta
