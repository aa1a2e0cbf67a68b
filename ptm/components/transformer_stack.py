"""The options of a stack of transformer layers, shared by encoder and decoder."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from ptm.component import Config, LayerCount, LayerSize, PositiveFloat
from ptm.nn.model_shape import Activation, HeadShape, ModelShape, NormKind
from ptm.plan import Operation

if TYPE_CHECKING:
    from torch import nn


class PositionBias(Config):
    """Relative position bias: one value per head and bucket of distances, added to attention
    scores. All layers share one table (T5)."""

    buckets: Annotated[int, Field(ge=4, le=2**16)] = 32
    """Number of buckets."""
    max_distance: LayerSize = 128
    """All distances from this one on share a bucket."""

    @model_validator(mode="after")
    def _check_buckets(self) -> PositionBias:
        if self.buckets % 4:
            raise ValueError(f"buckets = {self.buckets} must be a multiple of 4")
        if self.max_distance <= self.buckets // 2:
            raise ValueError(
                f"max_distance = {self.max_distance} must be above half of buckets = "
                f"{self.buckets}, because up to that many distances have one bucket each"
            )
        return self


class TransformerStack(Config):
    """A stack of layers of attention and feed-forward."""

    hidden_size: LayerSize
    """Width of the residual stream."""
    layers: LayerCount
    """Number of layers."""
    heads: LayerSize
    """Number of attention heads."""
    head_size: LayerSize | None = None
    """Width of a head; hidden_size / heads if left out."""
    key_value_heads: LayerSize | None = None
    """Number of key and value heads, each shared by a group of query heads (grouped-query
    attention); the same as `heads` if left out."""
    feed_forward_size: LayerSize
    """Width of the feed-forward layer."""
    feed_forward: Literal["dense", "gated"] = "dense"
    """gated: activation(gate) * up, with one more matrix (GEGLU, SwiGLU)."""
    activation: Activation = "gelu"
    """Activation of the feed-forward layers and of the head; gelu_tanh is the tanh
    approximation."""
    norm: NormKind = "layer"
    """layer: LayerNorm; rms: RMSNorm (LLaMA, T5). Embedding and head use the same kind."""
    norm_position: Literal["post", "pre"] = "post"
    """post: after each residual sum (BERT); pre: before each branch, with a norm at the end
    (GPT-2)."""
    norm_epsilon: PositiveFloat = 1e-12
    """Epsilon of all norms."""
    bias: bool = True
    """Whether linear layers and norms have biases, in the embedding and the head too. The output
    layer is not affected."""
    attention_scale: bool = True
    """Divide attention scores by the square root of the head size."""
    position_bias: PositionBias | None = None
    """Relative position bias (T5); none if left out."""

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        width, heads = self.hidden_size, self.heads
        if self.head_size is None and width % heads:
            raise ValueError(
                f"hidden_size = {width} is not a multiple of heads = {heads}. Change one of them "
                "or set head_size."
            )
        if self.key_value_heads is not None and heads % self.key_value_heads:
            raise ValueError(
                f"heads = {heads} is not a multiple of key_value_heads = {self.key_value_heads}. "
                "Change one of them."
            )
        return self

    @property
    def pre_norm(self) -> bool:
        """Whether norms are before each branch (pre-norm) instead of after each sum (post-norm)."""
        return self.norm_position == "pre"

    @property
    def head_shape(self) -> HeadShape:
        """Number and sizes of the heads of every attention module."""
        return HeadShape(
            hidden_size=self.hidden_size,
            heads=self.heads,
            key_value_heads=self.key_value_heads or self.heads,
            head_size=self.head_size or self.hidden_size // self.heads,
            bias=self.bias,
            scaled=self.attention_scale,
        )

    def build_feed_forward(self) -> nn.Module:
        """Build the feed-forward module of one layer."""
        from ptm.nn.transformer_layer import FeedForward, GatedFeedForward

        build = GatedFeedForward if self.feed_forward == "gated" else FeedForward
        return build(
            self.hidden_size, self.feed_forward_size, activation=self.activation, bias=self.bias
        )

    def position_bias_operations(
        self, name: str, *, reads: str, bidirectional: bool
    ) -> tuple[Operation, ...]:
        """The operation from example ids `reads` (B, T) to the bias of each distance `name`.

        (H, 2T - 1); empty without `position_bias`.
        """
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
        return (Operation(name, build, (reads,), (name,)),)

    def final_norm(self, name: str, shape: ModelShape) -> tuple[Operation, ...]:
        """The norm after the last layer, which a pre-norm stack needs; else empty."""
        if not self.pre_norm:
            return ()
        from ptm.nn.layers import build_norm

        build = partial(build_norm, shape, self.hidden_size)
        return (Operation(name, build, ("hidden",), ("hidden",)),)
