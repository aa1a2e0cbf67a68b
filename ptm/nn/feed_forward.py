"""The position-wise feed-forward layer (Vaswani et al. 2017, section 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from ptm.nn.activation import activate


class FeedForward(nn.Module):
    """Up, activation, down."""

    def __init__(self, hidden_size: int, feed_forward_size: int, *, activation: str) -> None:
        super().__init__()
        self.activation = activation
        self.up = nn.Linear(hidden_size, feed_forward_size)
        self.down = nn.Linear(feed_forward_size, hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        lowered: Tensor = self.down(activate(self.activation, self.up(hidden)))
        return lowered
