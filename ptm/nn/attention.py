"""Multi-head self-attention within examples (Vaswani et al. 2017, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptm.nn.rotary import rotate

# B rows, T tokens a row, D width, H heads, S size of a head.


def same_example(example_ids: Tensor) -> Tensor:
    """(B, T) example ids -> (B, 1, T, T) bool: query and key belong to one example.

    Padding (id 0) sees padding, so that no softmax is over nothing.
    """
    return (example_ids[:, :, None] == example_ids[:, None, :])[:, None]


def within_window(length: int, window: int, *, device: torch.device) -> Tensor:
    """(T, T) bool: query and key are at most `window // 2` tokens apart.

    The tokens of an example stand side by side, so distance in the row is distance in the example.
    """
    place = torch.arange(length, device=device)
    return (place[:, None] - place[None, :]).abs() <= window // 2


def visible(example_ids: Tensor, *, window: int | None) -> Tensor:
    """(B, T) example ids -> (B, 1, T, T) bool: which keys a query may look at."""
    mask = same_example(example_ids)
    if window is None:
        return mask
    return mask & within_window(example_ids.shape[1], window, device=example_ids.device)


class Projections(nn.Module):
    """Into query, key and value of every head, and from the heads back."""

    def __init__(self, hidden_size: int, heads: int, *, bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=bias)
        self.output = nn.Linear(hidden_size, hidden_size, bias=bias)

    def split(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, D) -> query, key and value (B, H, T, S)."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(hidden).chunk(3, dim=-1)
        )
        return query, key, value

    def merge(self, mixed: Tensor) -> Tensor:
        """(B, H, T, S) -> (B, T, D)."""
        merged: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return merged


class SelfAttention(Projections):
    """Every token of an example sees all of that example, or a window of it.

    `scaled`: scores are divided by the root of the head's size. `theta`: of rotary positions.
    """

    def __init__(
        self,
        hidden_size: int,
        heads: int,
        *,
        dropout: float,
        bias: bool = True,
        scaled: bool = True,
        theta: float | None = None,
        window: int | None = None,
    ) -> None:
        super().__init__(hidden_size, heads, bias=bias)
        self.dropout = dropout
        self.scale = (hidden_size // heads) ** -0.5 if scaled else 1.0
        self.theta = theta
        self.window = window

    def forward(
        self, hidden: Tensor, example_ids: Tensor, position_ids: Tensor | None = None
    ) -> Tensor:
        """(B, T, D), (B, T), and (B, T) where positions are rotary -> (B, T, D)."""
        query, key, value = self.split(hidden)
        if self.theta is not None:
            assert position_ids is not None, "rotary positions need position_ids"
            query = rotate(query, position_ids, theta=self.theta)
            key = rotate(key, position_ids, theta=self.theta)
        mixed = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=visible(example_ids, window=self.window),
            dropout_p=self.dropout if self.training else 0.0,
            scale=self.scale,
        )
        return self.merge(mixed)
