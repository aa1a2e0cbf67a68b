"""The options that a stack of transformer layers has, whether it encodes or decodes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from ptm.component import Config, PositiveFloat, PositiveInt
from ptm.nn.model_shape import Activation, HeadShape, ModelShape, NormKind
from ptm.plan import Step

if TYPE_CHECKING:
    from torch import nn


class PositionBias(Config):
    """A number a head and bucket of distances, added to scores; one table for all layers (T5)."""

    buckets: Annotated[int, Field(ge=4, le=2**16)] = 32
    max_distance: PositiveInt = 128
    """From this distance on all share a bucket."""

    @model_validator(mode="after")
    def _distances_grow(self) -> PositionBias:
        if self.buckets % 4:
            raise ValueError(f"buckets = {self.buckets} is not a multiple of 4")
        if self.max_distance <= self.buckets // 2:
            raise ValueError(
                f"max_distance = {self.max_distance} must be above half of buckets = "
                f"{self.buckets}: so many distances have a bucket of their own"
            )
        return self


class TransformerStack(Config):
    """Layers of attention and feed-forward."""

    hidden_size: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    head_size: PositiveInt | None = None
    """Width of a head; hidden_size / heads if left out."""
    key_value_heads: PositiveInt | None = None
    """Heads of keys and values, which groups of query heads share; as `heads` if left out."""
    feed_forward_size: PositiveInt
    feed_forward: Literal["dense", "gated"] = "dense"
    """gated: activation(gate) * up, with a matrix more (GEGLU, SwiGLU)."""
    activation: Activation = "gelu"
    norm: NormKind = "layer"
    norm_position: Literal["post", "pre"] = "post"
    norm_epsilon: PositiveFloat = 1e-12
    bias: bool = True
    """Of linear layers and norms, in the embedding and the head too; not of the output layer."""
    attention_scale: bool = True
    """Divide attention's scores by the root of the head's size."""
    position_bias: PositionBias | None = None
    """Relative positions as numbers added to scores (T5)."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        width, heads = self.hidden_size, self.heads
        if self.head_size is None and width % heads:
            raise ValueError(f"hidden_size = {width} is not a multiple of heads = {heads}")
        if self.key_value_heads is not None and heads % self.key_value_heads:
            raise ValueError(
                f"heads = {heads} is not a multiple of key_value_heads = {self.key_value_heads}"
            )
        return self

    @property
    def pre_norm(self) -> bool:
        """Whether branches normalise what they read, instead of the stream after them."""
        return self.norm_position == "pre"

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
    def head_shape(self) -> HeadShape:
        """The heads of every attention."""
        return HeadShape(
            hidden_size=self.hidden_size,
            heads=self.heads,
            key_value_heads=self.key_value_heads or self.heads,
            head_size=self.head_size or self.hidden_size // self.heads,
            bias=self.bias,
            scaled=self.attention_scale,
        )

    def built_feed_forward(self) -> nn.Module:
        """The feed-forward branch of one layer."""
        from ptm.nn.transformer_layer import FeedForward, GatedFeedForward

        build = GatedFeedForward if self.feed_forward == "gated" else FeedForward
        return build(
            self.hidden_size, self.feed_forward_size, activation=self.activation, bias=self.bias
        )

    def bias_step(self, name: str, *, reads: str, bidirectional: bool) -> tuple[Step, ...]:
        """Example ids (B, T) -> position biases (1, H, T, T) under `name`; no step without them."""
        if self.position_bias is None:
            return ()
        from ptm.nn.positions import RelativePositionBias

        build = partial(
            RelativePositionBias,
            self.heads,
            buckets=self.position_bias.buckets,
            max_distance=self.position_bias.max_distance,
            bidirectional=bidirectional,
        )
        return (Step(name, build, (reads,), (name,)),)

    def last_norm(self, name: str, shape: ModelShape) -> tuple[Step, ...]:
        """Pre-norm needs a norm after the last layer."""
        if not self.pre_norm:
            return ()
        from ptm.nn.layers import build_norm

        build = partial(build_norm, shape, self.hidden_size)
        return (Step(name, build, ("hidden",), ("hidden",)),)
