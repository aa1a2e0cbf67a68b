"""Attention whose scores are added to the next layer's (He et al. 2020, "RealFormer")."""

from __future__ import annotations

import torch
from torch import Tensor

from ptm.nn.attention import Projections, visible
from ptm.nn.dropout import Dropout

# B rows, T tokens a row, D width, H heads.


class ResidualAttention(Projections):
    """Softmax over this layer's scores plus those handed on by the layer before.

    What is handed on is not masked: each layer hides other examples by itself, and so no infinity
    crosses from one layer to the next.
    """

    def __init__(
        self,
        hidden_size: int,
        heads: int,
        *,
        dropout: float,
        bias: bool = True,
        scaled: bool = True,
        window: int | None = None,
    ) -> None:
        super().__init__(hidden_size, heads, bias=bias)
        self.dropout = Dropout(dropout)
        self.scale = (hidden_size // heads) ** -0.5 if scaled else 1.0
        self.window = window

    def forward(
        self, hidden: Tensor, example_ids: Tensor, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B, T), scores (B, H, T, T) of the layer before -> (B, T, D), scores."""
        query, key, value = self.split(hidden)
        scores = (query * self.scale) @ key.transpose(-2, -1)
        if before is not None:
            scores = scores + before
        hidden_keys = ~visible(example_ids, window=self.window)
        seen = scores.masked_fill(hidden_keys, float("-inf"))
        weights = seen.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
        return self.merge(self.dropout(weights) @ value), scores
