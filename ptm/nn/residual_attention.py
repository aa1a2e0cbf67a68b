"""Attention whose scores are added to the next layer's (He et al. 2020, "RealFormer")."""

from __future__ import annotations

import torch
from torch import Tensor

from ptm.nn.attention import HeadShape, Projections
from ptm.nn.dropout import Dropout
from ptm.nn.visibility import Sight

# B rows, T tokens a row, D width, H heads.


class ResidualAttention(Projections):
    """Softmax over this layer's scores plus those handed on by the layer before.

    What is handed on is not masked: each layer hides other examples by itself, and so no infinity
    crosses from one layer to the next.
    """

    def __init__(self, shape: HeadShape, *, dropout: float, sight: Sight) -> None:
        super().__init__(shape)
        self.dropout = Dropout(dropout)
        self.sight = sight

    def forward(
        self, hidden: Tensor, example_ids: Tensor, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B, T), scores (B, H, T, T) of the layer before -> (B, T, D), scores."""
        query, key, value = self.split(hidden)
        scores = (query * self.shape.scale) @ key.transpose(-2, -1)
        if before is not None:
            scores = scores + before
        hidden_keys = ~self.sight.mask(example_ids, example_ids, None)
        seen = scores.masked_fill(hidden_keys, float("-inf"))
        weights = seen.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
        return self.merge(self.dropout(weights) @ value), scores
