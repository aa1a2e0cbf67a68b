"""The transformer encoder (Vaswani et al. 2017; post-norm as BERT, or pre-norm as GPT-2)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator
from torch import Tensor, nn

from ptm.component import PositiveFloat, PositiveInt
from ptm.encoders.contract import Encoder, Visibility
from ptm.nn.activation import Activation
from ptm.nn.attention import SelfAttention
from ptm.nn.dropout import Dropout
from ptm.nn.feed_forward import FeedForward
from ptm.nn.shape import ModelShape
from ptm.plan import Step


class Transformer(Encoder):
    """Layers of self-attention and feed-forward."""

    type: Literal["transformer"]
    layers: PositiveInt
    heads: PositiveInt
    feed_forward_size: PositiveInt
    activation: Activation = "gelu"
    norm_position: Literal["post", "pre"] = "post"
    norm_epsilon: PositiveFloat = 1e-12

    separates_examples: ClassVar[bool] = True

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Transformer:
        if self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size = {self.hidden_size} is not a multiple of heads = {self.heads}"
            )
        return self

    @property
    def visibility(self) -> Visibility:
        """Every token sees its whole example."""
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
    def residual_branches(self) -> int:
        """Attention and feed-forward of every layer."""
        return 2 * self.layers

    def residual_outputs(self) -> tuple[str, ...]:
        """The last matrix of each branch."""
        return ("attention.output.weight", "feed_forward.down.weight")

    def steps(self, shape: ModelShape) -> tuple[Step, ...]:
        """One step a layer; pre-norm needs a norm after the last."""
        layers = tuple(
            Step(
                f"encoder_{index:02}",
                lambda: TransformerLayer(self, shape),
                ("hidden", "example_ids"),
                ("hidden",),
                block=True,
            )
            for index in range(self.layers)
        )
        if self.norm_position == "post":
            return layers
        final = Step(
            "encoder_norm",
            lambda: nn.LayerNorm(self.hidden_size, eps=self.norm_epsilon),
            ("hidden",),
            ("hidden",),
        )
        return (*layers, final)


class TransformerLayer(nn.Module):
    """Two residual branches, with the norm after each sum (post) or before each branch (pre)."""

    def __init__(self, config: Transformer, shape: ModelShape) -> None:
        super().__init__()
        width = config.hidden_size
        self.pre_norm = config.norm_position == "pre"
        self.attention = SelfAttention(width, config.heads, dropout=shape.attention_dropout)
        self.attention_norm = nn.LayerNorm(width, eps=config.norm_epsilon)
        self.feed_forward = FeedForward(
            width, config.feed_forward_size, activation=config.activation
        )
        self.feed_forward_norm = nn.LayerNorm(width, eps=config.norm_epsilon)
        self.dropout = Dropout(shape.dropout)

    def forward(self, hidden: Tensor, example_ids: Tensor) -> Tensor:
        """(B, T, D), (B, T) -> (B, T, D)."""
        if self.pre_norm:
            attended = self.attention(self.attention_norm(hidden), example_ids)
            hidden = hidden + self.dropout(attended)
            lowered: Tensor = self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))
            return hidden + lowered
        hidden = self.attention_norm(hidden + self.dropout(self.attention(hidden, example_ids)))
        normed: Tensor = self.feed_forward_norm(hidden + self.dropout(self.feed_forward(hidden)))
        return normed
