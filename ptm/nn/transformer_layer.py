"""Transformer layers: residual branches with a norm after each sum (post-norm) or before each
branch (pre-norm)."""

from __future__ import annotations

from torch import Tensor, nn

from ptm.nn.layers import Dropout, activate, build_norm
from ptm.nn.linear import Linear
from ptm.nn.model_shape import ModelShape

# B rows, T tokens per row, D width, H heads, K tokens per row on the encoder's side.


class ResidualLayer(nn.Module):
    """The base class of layers with residual branches, post-norm or pre-norm."""

    def __init__(self, shape: ModelShape, *, pre_norm: bool) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.dropout = Dropout(shape.dropout)

    def before(self, norm: nn.Module, hidden: Tensor) -> Tensor:
        """The input of a branch (B, T, D): the residual stream, normalised if pre-norm."""
        read: Tensor = norm(hidden) if self.pre_norm else hidden
        return read

    def after(self, norm: nn.Module, hidden: Tensor, branch: Tensor) -> Tensor:
        """The stream plus the branch with dropout, normalised if post-norm; all (B, T, D)."""
        total = hidden + self.dropout(branch)
        joined: Tensor = total if self.pre_norm else norm(total)
        return joined


class _SelfAttentionLayer(ResidualLayer):
    """The branches of self-attention and feed-forward.

    Without `first_norm`, the attention branch has no norm.
    """

    def __init__(
        self,
        attention: nn.Module,
        feed_forward: nn.Module,
        shape: ModelShape,
        *,
        pre_norm: bool,
        first_norm: bool = True,
    ) -> None:
        super().__init__(shape, pre_norm=pre_norm)
        width = shape.hidden_size
        self.attention = attention
        self.attention_norm = build_norm(shape, width) if first_norm else nn.Identity()
        self.feed_forward = feed_forward
        self.feed_forward_norm = build_norm(shape, width)

    def self_attention(self, hidden: Tensor, example_ids: Tensor, **extra_inputs: Tensor) -> Tensor:
        """The self-attention branch: (B, T, D), ids (B, T), extra inputs -> (B, T, D)."""
        read = self.before(self.attention_norm, hidden)
        return self.after(
            self.attention_norm, hidden, self.attention(read, example_ids, **extra_inputs)
        )

    def feed_forward_branch(self, hidden: Tensor) -> Tensor:
        """The feed-forward branch: (B, T, D) -> (B, T, D)."""
        lowered = self.feed_forward(self.before(self.feed_forward_norm, hidden))
        return self.after(self.feed_forward_norm, hidden, lowered)


class TransformerLayer(_SelfAttentionLayer):
    """Self-attention, then feed-forward.

    `extra_inputs` names the extra inputs of self-attention (`position_ids` …), in the order of the
    call.
    """

    def __init__(
        self,
        attention: nn.Module,
        feed_forward: nn.Module,
        shape: ModelShape,
        *,
        pre_norm: bool,
        first_norm: bool = True,
        extra_inputs: tuple[str, ...] = (),
    ) -> None:
        super().__init__(attention, feed_forward, shape, pre_norm=pre_norm, first_norm=first_norm)
        self.extra_inputs = extra_inputs

    def forward(self, hidden: Tensor, example_ids: Tensor, *extra_inputs: Tensor) -> Tensor:
        """(B, T, D), example ids (B, T), extra inputs of attention -> (B, T, D)."""
        named = dict(zip(self.extra_inputs, extra_inputs, strict=True))
        return self.feed_forward_branch(self.self_attention(hidden, example_ids, **named))


class DecoderLayer(_SelfAttentionLayer):
    """Self-attention, cross-attention, then feed-forward; `extra_inputs` as in
    `TransformerLayer`."""

    def __init__(
        self,
        attention: nn.Module,
        cross_attention: nn.Module,
        feed_forward: nn.Module,
        shape: ModelShape,
        *,
        pre_norm: bool,
        extra_inputs: tuple[str, ...] = (),
    ) -> None:
        super().__init__(attention, feed_forward, shape, pre_norm=pre_norm)
        self.cross_attention = cross_attention
        self.cross_attention_norm = build_norm(shape, shape.hidden_size)
        self.extra_inputs = extra_inputs

    def forward(
        self,
        hidden: Tensor,
        example_ids: Tensor,
        memory: Tensor,
        memory_ids: Tensor,
        *extra_inputs: Tensor,
    ) -> Tensor:
        """(B, T, D), ids (B, T), memory (B, K, D), its ids (B, K), extra inputs -> (B, T, D)."""
        named = dict(zip(self.extra_inputs, extra_inputs, strict=True))
        hidden = self.self_attention(hidden, example_ids, **named)
        read = self.before(self.cross_attention_norm, hidden)
        crossed = self.cross_attention(read, example_ids, memory, memory_ids)
        return self.feed_forward_branch(self.after(self.cross_attention_norm, hidden, crossed))


class ResidualAttentionLayer(_SelfAttentionLayer):
    """RealFormer's layer: takes the attention scores of the previous layer, passes on its own."""

    def forward(
        self,
        hidden: Tensor,
        example_ids: Tensor,
        before: Tensor | None = None,
        last: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """(B, T, D), ids (B, T), scores (B, H, T, T) -> (B, T, D) and, unless `last`, scores."""
        read = self.before(self.attention_norm, hidden)
        attended, scores = self.attention(read, example_ids, before)
        hidden = self.feed_forward_branch(self.after(self.attention_norm, hidden, attended))
        return hidden if last else (hidden, scores)


class FeedForward(nn.Module):
    """down(activation(up(x)))."""

    def __init__(
        self, hidden_size: int, feed_forward_size: int, *, activation: str, bias: bool = True
    ) -> None:
        super().__init__()
        self.activation = activation
        self.up = Linear(hidden_size, feed_forward_size, bias=bias)
        self.down = Linear(feed_forward_size, hidden_size, bias=bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        lowered: Tensor = self.down(activate(self.activation, self.up(hidden)))
        return lowered


class GatedFeedForward(nn.Module):
    """down(activation(gate(x)) * up(x)): GEGLU, SwiGLU and other gated variants (Shazeer 2020).

    Gate and up are one matrix, with the gate in its first half: one matrix product instead of two.
    """

    def __init__(
        self, hidden_size: int, feed_forward_size: int, *, activation: str, bias: bool = True
    ) -> None:
        super().__init__()
        self.activation = activation
        parts = {"gate": feed_forward_size, "up": feed_forward_size}
        self.gate_up = Linear(hidden_size, sum(parts.values()), bias=bias, parts=parts)
        self.down = Linear(feed_forward_size, hidden_size, bias=bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        gate, up = self.gate_up(hidden).chunk(2, dim=-1)
        lowered: Tensor = self.down(activate(self.activation, gate) * up)
        return lowered
