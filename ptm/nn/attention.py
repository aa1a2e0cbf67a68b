"""Multi-head attention within examples (Vaswani et al. 2017, section 3.2)."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptm.nn.key_value_cache import KeyValueCache
from ptm.nn.layers import Dropout
from ptm.nn.model_shape import HeadShape
from ptm.nn.positions import rotate
from ptm.nn.visibility import Sight, same_example

# B rows, T tokens a row, D width, H heads, G heads of keys and values, S size of a head.


class Projections(nn.Module):
    """Into query, key and value of every head, and from the heads back."""

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.shape = shape
        width, bias = shape.hidden_size, shape.bias
        self.qkv = nn.Linear(width, shape.query_width + 2 * shape.key_width, bias=bias)
        self.output = nn.Linear(shape.query_width, width, bias=bias)

    def split(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, D) -> query (B, H, T, S), key and value (B, G, T, S)."""
        shape = self.shape
        sizes = (shape.query_width, shape.key_width, shape.key_width)
        query, key, value = (
            heads_of(part, shape.head_size) for part in self.qkv(hidden).split(sizes, dim=-1)
        )
        return query, key, value

    def merge(self, mixed: Tensor) -> Tensor:
        """(B, H, T, S) -> (B, T, D)."""
        merged: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return merged


class Kernel(Protocol):
    """Computes self-attention from queries, keys, values and what says who sees whom."""

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        example_ids: Tensor,
        *,
        segment_ids: Tensor | None,
        position_bias: Tensor | None,
    ) -> Tensor:
        """(B, H, T, S), (B, G, T, S) twice, (B, T), (B, T), (1, H, T, T) -> (B, H, T, S)."""
        ...


class SelfAttention(Projections):
    """Every token sees of its example what `sight` lets it.

    `theta`: of rotary positions.
    """

    cache: KeyValueCache | None = None
    kernel: Kernel | None = None
    """What computes it instead of torch's scaled dot product attention."""

    def __init__(
        self,
        shape: HeadShape,
        *,
        dropout: float,
        sight: Sight,
        theta: float | None = None,
    ) -> None:
        super().__init__(shape)
        self.dropout = dropout
        self.sight = sight
        self.theta = theta

    def forward(
        self,
        hidden: Tensor,
        example_ids: Tensor,
        *,
        position_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
        position_bias: Tensor | None = None,
    ) -> Tensor:
        """(B, T, D), (B, T); where they matter (B, T), (B, T), (1, H, T, T) -> (B, T, D)."""
        query, key, value = self.split(hidden)
        if self.theta is not None:
            assert position_ids is not None, "rotary positions need position_ids"
            query = rotate(query, position_ids, theta=self.theta)
            key = rotate(key, position_ids, theta=self.theta)
        if self.kernel is not None and self.cache is None:
            return self.merge(
                self.kernel(
                    query,
                    key,
                    value,
                    example_ids,
                    segment_ids=segment_ids,
                    position_bias=position_bias,
                )
            )
        key_ids = example_ids
        if self.cache is not None:
            key, value, key_ids, segment_ids = self.cache.extended(
                key, value, example_ids, segment_ids
            )
        mask = self.sight.mask(example_ids, key_ids, segment_ids)
        if position_bias is not None:
            mask = position_bias.masked_fill(~mask, float("-inf"))
        return self.merge(
            attended(query, key, value, mask, dropout=self._dropout, scale=self.shape.scale)
        )

    @property
    def _dropout(self) -> float:
        return self.dropout if self.training else 0.0


class CrossAttention(nn.Module):
    """Every token sees all of its example on the other side."""

    cache: KeyValueCache | None = None

    def __init__(self, shape: HeadShape, *, dropout: float) -> None:
        super().__init__()
        self.shape = shape
        self.dropout = dropout
        width, bias = shape.hidden_size, shape.bias
        self.query = nn.Linear(width, shape.query_width, bias=bias)
        self.key_value = nn.Linear(width, 2 * shape.key_width, bias=bias)
        self.output = nn.Linear(shape.query_width, width, bias=bias)

    def forward(
        self, hidden: Tensor, example_ids: Tensor, memory: Tensor, memory_ids: Tensor
    ) -> Tensor:
        """(B, T, D), (B, T), and of the other side (B, K, D), (B, K) -> (B, T, D).

        A row that is all padding on one side looks at the other's padding.
        """
        query = heads_of(self.query(hidden), self.shape.head_size)
        key, value = self._memory(memory, memory_ids)
        mask = same_example(example_ids, memory_ids)
        # The other side of an example, or its padding, may have no token at all.
        mask = mask | ~mask.any(dim=-1, keepdim=True)
        dropout = self.dropout if self.training else 0.0
        mixed = attended(query, key, value, mask, dropout=dropout, scale=self.shape.scale)
        merged: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return merged

    def _memory(self, memory: Tensor, memory_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, G, K, S) of the other side, which does not change."""
        if self.cache is not None and not self.cache.is_empty:
            return self.cache.content[:2]
        key, value = (
            heads_of(part, self.shape.head_size) for part in self.key_value(memory).chunk(2, dim=-1)
        )
        if self.cache is not None:
            self.cache.extended(key, value, memory_ids, None)
        return key, value


def heads_of(projected: Tensor, size: int) -> Tensor:
    """(B, T, heads x S) -> (B, heads, T, S)."""
    return projected.view(*projected.shape[:-1], -1, size).transpose(1, 2)


def attended(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *, dropout: float, scale: float
) -> Tensor:
    """(B, H, Q, S), (B, G, K, S), (B, G, K, S), what is seen (B, 1 or H, Q, K) -> (B, H, Q, S)."""
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask.to(query.dtype) if mask.is_floating_point() else mask,
        dropout_p=dropout,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )


class ResidualAttention(Projections):
    """Softmax over this layer's scores plus those of the layer before (He et al. 2020).

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
