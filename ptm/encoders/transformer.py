"""The transformer encoder (Vaswani et al. 2017) and those that differ from it in parts.

BERT's layers by default; ALBERT shares them, RealFormer adds the scores of attention to the next
layer's, ModernBERT has gates, rotary positions and windows, and no biases.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

from pydantic import model_validator
from torch import nn

from ptm.component import Config, PositiveFloat, PositiveInt
from ptm.encoders.contract import Encoder, Visibility
from ptm.nn.activation import Activation
from ptm.nn.attention import SelfAttention
from ptm.nn.feed_forward import FeedForward, GatedFeedForward
from ptm.nn.norm import NormKind
from ptm.nn.residual_attention import ResidualAttention
from ptm.nn.shape import ModelShape
from ptm.nn.transformer_layer import ResidualAttentionLayer, TransformerLayer
from ptm.plan import Step


class Rotary(Config):
    """Positions as rotations of query and key (Su et al. 2021)."""

    theta: PositiveFloat = 10_000.0
    """The longest wavelength, over two pi."""
    local_theta: PositiveFloat | None = None
    """The same in layers that see a window; as `theta` if left out."""


class Transformer(Encoder):
    """Layers of self-attention and feed-forward."""

    type: Literal["transformer"]
    layers: PositiveInt
    heads: PositiveInt
    feed_forward_size: PositiveInt
    feed_forward: Literal["dense", "gated"] = "dense"
    """gated: activation(gate) * up, with a matrix more (GEGLU, SwiGLU)."""
    activation: Activation = "gelu"
    norm: NormKind = "layer"
    norm_position: Literal["post", "pre"] = "post"
    norm_epsilon: PositiveFloat = 1e-12
    first_norm: bool = True
    """Whether the first of pre-norm layers normalises what its attention reads (ModernBERT's does
    not: the embedding's norm stands right before it)."""
    bias: bool = True
    """Of linear layers and norms, in the embedding and the head too; not of the output layer."""
    attention_scale: bool = True
    """Divide attention's scores by the root of the head's size."""
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
        width, heads = self.hidden_size, self.heads
        if width % heads:
            raise ValueError(f"hidden_size = {width} is not a multiple of heads = {heads}")
        if self.rotary and width // heads % 2:
            raise ValueError(
                f"rotary positions turn pairs, but hidden_size = {width} over heads = {heads} is "
                f"{width // heads}, an odd number"
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
        if self.residual_attention and self.rotary:
            raise ValueError(
                "residual_attention = true adds scores that know absolute positions; with rotary "
                "it is not supported"
            )
        return self

    @property
    def visibility(self) -> Visibility:
        """Every token sees its whole example, if only through several layers' windows."""
        return "full"

    @property
    def activation_name(self) -> str:
        """The feed-forward layers' activation."""
        return self.activation

    @property
    def epsilon(self) -> float:
        """The norms' epsilon."""
        return self.norm_epsilon

    @property
    def norm_kind(self) -> NormKind:
        """As `norm` says."""
        return self.norm

    @property
    def has_biases(self) -> bool:
        """As `bias` says."""
        return self.bias

    @property
    def residual_branches(self) -> int:
        """Attention and feed-forward of every layer."""
        return 2 * self.layers

    def residual_outputs(self) -> tuple[str, ...]:
        """The last matrix of each branch."""
        return ("attention.output.weight", "feed_forward.down.weight")

    def steps(self, shape: ModelShape) -> tuple[Step, ...]:
        """One step a layer; pre-norm needs a norm after the last."""
        layers = tuple(self._step(index, shape) for index in range(self.layers))
        if self.norm_position == "post":
            return layers
        build = partial(shape.norm, self.hidden_size)
        return (*layers, Step("encoder_norm", build, ("hidden",), ("hidden",)))

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

    def _step(self, index: int, shape: ModelShape) -> Step:
        reads, writes, options = ["hidden", "example_ids"], ["hidden"], {}
        if self.rotary:
            reads.append("position_ids")
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
        layer = ResidualAttentionLayer if self.residual_attention else TransformerLayer
        return layer(
            self._attention(index, shape),
            self._feed_forward(),
            shape,
            pre_norm=self.norm_position == "pre",
            first_norm=self.first_norm or index > 0,
        )

    def _attention(self, index: int, shape: ModelShape) -> nn.Module:
        window = None if self.is_global(index) else self.window
        if self.residual_attention:
            return ResidualAttention(
                self.hidden_size,
                self.heads,
                dropout=shape.attention_dropout,
                bias=self.bias,
                scaled=self.attention_scale,
                window=window,
            )
        theta = None
        if self.rotary:
            local = self.rotary.local_theta if window is not None else None
            theta = local or self.rotary.theta
        return SelfAttention(
            self.hidden_size,
            self.heads,
            dropout=shape.attention_dropout,
            bias=self.bias,
            scaled=self.attention_scale,
            theta=theta,
            window=window,
        )

    def _feed_forward(self) -> nn.Module:
        build = GatedFeedForward if self.feed_forward == "gated" else FeedForward
        return build(
            self.hidden_size, self.feed_forward_size, activation=self.activation, bias=self.bias
        )
