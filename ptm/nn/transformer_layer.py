"""Transformer layers: residual branches, with a norm after each sum (post) or before each (pre)."""

from __future__ import annotations

from torch import Tensor, nn

from ptm.nn.layers import Dropout, activate, build_norm
from ptm.nn.model_shape import ModelShape

# B rows, T tokens a row, D width, H heads, K tokens a row of the other side.


class ResidualLayer(nn.Module):
    """What layers of residual branches share: where their norms stand."""

    def __init__(self, shape: ModelShape, *, pre_norm: bool) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.dropout = Dropout(shape.dropout)

    def before(self, norm: nn.Module, hidden: Tensor) -> Tensor:
        """What a branch reads of the stream (B, T, D)."""
        read: Tensor = norm(hidden) if self.pre_norm else hidden
        return read

    def after(self, norm: nn.Module, hidden: Tensor, branch: Tensor) -> Tensor:
        """The stream (B, T, D) with what a branch adds to it."""
        total = hidden + self.dropout(branch)
        joined: Tensor = total if self.pre_norm else norm(total)
        return joined


class _SelfAttending(ResidualLayer):
    """The modules of two branches, attention and feed-forward.

    `first_norm`: whether a pre-norm layer normalises what its attention reads.
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

    def attended(self, hidden: Tensor, example_ids: Tensor, **told: Tensor) -> Tensor:
        """The first branch: (B, T, D), (B, T) and what else attention is told -> (B, T, D)."""
        read = self.before(self.attention_norm, hidden)
        return self.after(self.attention_norm, hidden, self.attention(read, example_ids, **told))

    def fed_forward(self, hidden: Tensor) -> Tensor:
        """The last branch: (B, T, D) -> (B, T, D)."""
        lowered = self.feed_forward(self.before(self.feed_forward_norm, hidden))
        return self.after(self.feed_forward_norm, hidden, lowered)


class TransformerLayer(_SelfAttending):
    """Attention, then feed-forward.

    `told`: names of what attention is told besides (`position_ids` …), in the order of the call.
    """

    def __init__(
        self,
        attention: nn.Module,
        feed_forward: nn.Module,
        shape: ModelShape,
        *,
        pre_norm: bool,
        first_norm: bool = True,
        told: tuple[str, ...] = (),
    ) -> None:
        super().__init__(attention, feed_forward, shape, pre_norm=pre_norm, first_norm=first_norm)
        self.told = told

    def forward(self, hidden: Tensor, example_ids: Tensor, *told: Tensor) -> Tensor:
        """(B, T, D), (B, T), and what attention is told -> (B, T, D)."""
        named = dict(zip(self.told, told, strict=True))
        return self.fed_forward(self.attended(hidden, example_ids, **named))


class DecoderLayer(_SelfAttending):
    """Attention, attention to the other side, then feed-forward."""

    def __init__(
        self,
        attention: nn.Module,
        cross_attention: nn.Module,
        feed_forward: nn.Module,
        shape: ModelShape,
        *,
        pre_norm: bool,
        told: tuple[str, ...] = (),
    ) -> None:
        super().__init__(attention, feed_forward, shape, pre_norm=pre_norm)
        self.cross_attention = cross_attention
        self.cross_attention_norm = build_norm(shape, shape.hidden_size)
        self.told = told

    def forward(
        self,
        hidden: Tensor,
        example_ids: Tensor,
        memory: Tensor,
        memory_ids: Tensor,
        *told: Tensor,
    ) -> Tensor:
        """(B, T, D), (B, T), (B, K, D), (B, K), and what self-attention is told -> (B, T, D)."""
        named = dict(zip(self.told, told, strict=True))
        hidden = self.attended(hidden, example_ids, **named)
        read = self.before(self.cross_attention_norm, hidden)
        crossed = self.cross_attention(read, example_ids, memory, memory_ids)
        return self.fed_forward(self.after(self.cross_attention_norm, hidden, crossed))


class ResidualAttentionLayer(_SelfAttending):
    """RealFormer's: takes the scores of the layer before and hands on its own."""

    def forward(
        self,
        hidden: Tensor,
        example_ids: Tensor,
        before: Tensor | None = None,
        last: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """(B, T, D), (B, T), scores (B, H, T, T) -> (B, T, D) and, but for the last, scores."""
        read = self.before(self.attention_norm, hidden)
        attended, scores = self.attention(read, example_ids, before)
        hidden = self.fed_forward(self.after(self.attention_norm, hidden, attended))
        return hidden if last else (hidden, scores)


class FeedForward(nn.Module):
    """Up, activation, down."""

    def __init__(
        self, hidden_size: int, feed_forward_size: int, *, activation: str, bias: bool = True
    ) -> None:
        super().__init__()
        self.activation = activation
        self.up = nn.Linear(hidden_size, feed_forward_size, bias=bias)
        self.down = nn.Linear(feed_forward_size, hidden_size, bias=bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        lowered: Tensor = self.down(activate(self.activation, self.up(hidden)))
        return lowered


class GatedFeedForward(nn.Module):
    """down(activation(gate) * up): GEGLU, SwiGLU and their kin (Shazeer 2020).

    One matrix makes both, the gate in its first half: one product instead of two.
    """

    def __init__(
        self, hidden_size: int, feed_forward_size: int, *, activation: str, bias: bool = True
    ) -> None:
        super().__init__()
        self.activation = activation
        self.gate_up = nn.Linear(hidden_size, 2 * feed_forward_size, bias=bias)
        self.down = nn.Linear(feed_forward_size, hidden_size, bias=bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        gate, up = self.gate_up(hidden).chunk(2, dim=-1)
        lowered: Tensor = self.down(activate(self.activation, gate) * up)
        return lowered
