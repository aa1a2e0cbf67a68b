"""The position-wise feed-forward layer (Vaswani et al. 2017, section 3.3), plain or gated."""

from __future__ import annotations

from torch import Tensor, nn

from ptm.nn.activation import activate


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
