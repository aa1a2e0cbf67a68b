"""Multi-head attention within examples (Vaswani et al. 2017, section 3.2)."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptm.nn.attention_mask import CAUSAL, FULL, AttentionPattern
from ptm.nn.key_value_cache import KeyValueCache
from ptm.nn.layers import FEW, Dropout
from ptm.nn.layers import dropout as drop
from ptm.nn.linear import Linear
from ptm.nn.model_shape import HeadShape
from ptm.nn.packed_examples import PackedExamples, biased_mask, cross_mask
from ptm.nn.positions import apply_rotary

# B rows, T tokens per row, D width, H query heads, G key and value heads, S head size;
# in cross-attention and with a cache: Q query tokens, K key tokens per row.


class AttentionProjections(nn.Module):
    """The projections to the queries, keys and values of all heads, and the output projection."""

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.shape = shape
        width, bias = shape.hidden_size, shape.bias
        parts = {"query": shape.query_width, "key": shape.key_width, "value": shape.key_width}
        self.qkv = Linear(width, sum(parts.values()), bias=bias, parts=parts)
        self.output = Linear(shape.query_width, width, bias=bias)

    def split(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, D) -> query (B, H, T, S), key and value (B, G, T, S)."""
        shape = self.shape
        sizes = (shape.query_width, shape.key_width, shape.key_width)
        query, key, value = (
            split_heads(part, shape.head_size) for part in self.qkv(hidden).split(sizes, dim=-1)
        )
        return query, key, value

    def merge(self, mixed: Tensor) -> Tensor:
        """(B, H, T, S) -> (B, T, D)."""
        merged: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return merged


class AttentionKernel(Protocol):
    """An implementation of self-attention that replaces scaled dot product attention."""

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        example_ids: Tensor,
        *,
        segment_ids: Tensor | None,
        position_bias: Tensor | None,
        dropout: float,
    ) -> Tensor | None:
        """Return the attended values (B, H, T, S); None if the kernel cannot compute them.

        Shapes: query (B, H, T, S), key and value (B, G, T, S), ids (B, T), bias (H, 2T - 1).
        """
        ...


class CrossAttentionKernel(Protocol):
    """An implementation of cross-attention that replaces scaled dot product attention."""

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        example_ids: Tensor,
        memory_ids: Tensor,
        *,
        dropout: float,
    ) -> Tensor:
        """Query (B, H, Q, S), key and value (B, G, K, S), ids (B, Q), (B, K) -> (B, H, Q, S)."""
        ...


class SelfAttention(AttentionProjections):
    """Multi-head self-attention within examples, masked by the attention pattern `pattern`.

    `theta` is the base of rotary positions; None for no rotary positions.
    """

    cache: KeyValueCache | None = None
    """Keys and values of earlier calls, during generation."""
    kernel: AttentionKernel | None = None
    """Used instead of torch's scaled dot product attention, except with a cache."""
    packed: PackedExamples | None = None
    """Shared by all layers of a model in training, so that each mask is computed once."""

    def __init__(
        self,
        shape: HeadShape,
        *,
        dropout: float,
        pattern: AttentionPattern,
        theta: float | None = None,
    ) -> None:
        super().__init__(shape)
        self.dropout = dropout
        self.pattern = pattern
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
        """Return the attention output (B, T, D).

        Args:
            hidden: Input (B, T, D).
            example_ids: Example of each token, 0 for padding (B, T).
            position_ids: Positions (B, T), required for rotary positions.
            segment_ids: Segments (B, T), required for visibility `prefix`.
            position_bias: Bias of each distance, added to the scores (H, 2T - 1), or
                (H, T + K - 1) with a cache.
        """
        query, key, value = self.split(hidden)
        if self.theta is not None:
            assert position_ids is not None, "rotary positions need position_ids"
            query = apply_rotary(query, position_ids, theta=self.theta)
            key = apply_rotary(key, position_ids, theta=self.theta)
        dropout = self.dropout if self.training else 0.0
        if self.kernel is not None and self.cache is None:
            mixed = self.kernel(
                query,
                key,
                value,
                example_ids,
                segment_ids=segment_ids,
                position_bias=position_bias,
                dropout=dropout,
            )
            if mixed is not None:
                return self.merge(mixed)
        key_ids = example_ids
        if self.cache is not None:
            key, value, key_ids, segment_ids = self.cache.append(
                key, value, example_ids, segment_ids
            )
        mask = self._mask(example_ids, key_ids, segment_ids, position_bias)
        causal = mask is None and self.pattern.visibility == "causal"
        return self.merge(
            scaled_attention(
                query,
                key,
                value,
                mask,
                dropout=dropout,
                scale=self.shape.scale,
                causal=causal,
            )
        )

    def _mask(
        self,
        example_ids: Tensor,
        key_ids: Tensor,
        segment_ids: Tensor | None,
        position_bias: Tensor | None,
    ) -> Tensor | None:
        """The mask (B, 1 or H, Q, K), or None if visibility alone decides what is attended to."""
        packed = self.packed if self.cache is None else None
        if position_bias is not None and packed is not None:
            return packed.biased_mask(self.pattern, example_ids, segment_ids, position_bias)
        if packed is None:
            mask = self.pattern.mask(example_ids, key_ids, segment_ids)
            return mask if position_bias is None else biased_mask(mask, position_bias)
        if packed.fills_rows and self.pattern in (FULL, CAUSAL):
            return None
        return packed.mask(self.pattern, example_ids, segment_ids)


class CrossAttention(nn.Module):
    """Multi-head cross-attention: every token attends to its example on the encoder's side."""

    cache: KeyValueCache | None = None
    kernel: CrossAttentionKernel | None = None
    """Used instead of torch's scaled dot product attention, except with a cache."""
    packed: PackedExamples | None = None
    """Shared by all layers of a model in training, so that each mask is computed once."""

    def __init__(self, shape: HeadShape, *, dropout: float) -> None:
        super().__init__()
        self.shape = shape
        self.dropout = dropout
        width, bias = shape.hidden_size, shape.bias
        self.query = Linear(width, shape.query_width, bias=bias)
        parts = {"key": shape.key_width, "value": shape.key_width}
        self.key_value = Linear(width, sum(parts.values()), bias=bias, parts=parts)
        self.output = Linear(shape.query_width, width, bias=bias)

    def forward(
        self, hidden: Tensor, example_ids: Tensor, memory: Tensor, memory_ids: Tensor
    ) -> Tensor:
        """Hidden (B, T, D), its example ids (B, T), memory (B, K, D), its ids (B, K) -> (B, T, D).

        Padding attends to padding.
        """
        query = split_heads(self.query(hidden), self.shape.head_size)
        key, value = self._memory(memory, memory_ids)
        dropout = self.dropout if self.training else 0.0
        if self.kernel is not None and self.cache is None:
            mixed = self.kernel(query, key, value, example_ids, memory_ids, dropout=dropout)
        else:
            shared = self.packed if self.cache is None else None
            find_mask = cross_mask if shared is None else shared.cross_mask
            mask = find_mask(example_ids, memory_ids)
            mixed = scaled_attention(
                query, key, value, mask, dropout=dropout, scale=self.shape.scale
            )
        merged: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return merged

    def _memory(self, memory: Tensor, memory_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, G, K, S) of the encoder's output, computed once if cached."""
        if self.cache is not None and not self.cache.is_empty:
            return self.cache.content[:2]
        key, value = (
            split_heads(part, self.shape.head_size)
            for part in self.key_value(memory).chunk(2, dim=-1)
        )
        if self.cache is not None:
            self.cache.append(key, value, memory_ids, None)
        return key, value


def split_heads(projected: Tensor, size: int) -> Tensor:
    """Split the heads of `size` S: (B, T, heads x S) -> (B, heads, T, S)."""
    return projected.view(*projected.shape[:-1], -1, size).transpose(1, 2)


def scaled_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    dropout: float,
    scale: float,
    causal: bool = False,
) -> Tensor:
    """Scaled dot product attention; G may divide H (grouped-query attention).

    Query (B, H, Q, S), key and value (B, G, K, S), mask (B, 1 or H, Q, K) -> (B, H, Q, S). The mask
    is boolean (True: attend) or floating-point (added to the scores). `causal`: without a mask,
    attend to the key itself and earlier ones.
    """
    many = query.shape[:-1].numel() * key.shape[-2] > FEW
    if dropout > 0.0 and many and query.device.type != "cuda":
        return _attention_with_dropout(
            query, key, value, mask, p=dropout, scale=scale, causal=causal
        )
    if mask is not None and mask.is_floating_point():
        mask = mask.to(query.dtype)
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout,
        is_causal=causal,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _attention_with_dropout(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    p: float,
    scale: float,
    causal: bool,
) -> Tensor:
    """`scaled_attention` with dropout of probability `p`, on the CPU.

    torch has no fused kernel for it there. Its fallback draws the mask of dropout more slowly,
    searches for queries without any key, which do not occur, and computes half precision in fp32.
    """
    if query.shape[1] != key.shape[1]:
        times = query.shape[1] // key.shape[1]
        key, value = (part.repeat_interleave(times, dim=1) for part in (key, value))
    scores = (query * scale) @ key.transpose(-2, -1)
    if mask is None and causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores += mask if mask.is_floating_point() else _added_mask(mask, scores.dtype)
    precise = torch.promote_types(scores.dtype, torch.float32)
    weights = scores.softmax(dim=-1, dtype=precise).to(value.dtype)
    return drop(weights, p) @ value


def _added_mask(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The boolean mask as a term of the scores: 0 or minus infinity, of the same shape."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(
        ~mask, float("-inf")
    )


class ResidualAttention(AttentionProjections):
    """Softmax over this layer's scores plus the previous layer's (RealFormer, He et al. 2020).

    The scores that are passed on are not masked. Each layer masks other examples itself, so no
    infinity is passed from one layer to the next.
    """

    packed: PackedExamples | None = None
    """Shared by all layers of a model in training, so that each mask is computed once."""

    def __init__(self, shape: HeadShape, *, dropout: float, pattern: AttentionPattern) -> None:
        super().__init__(shape)
        self.dropout = Dropout(dropout)
        self.pattern = pattern

    def forward(
        self, hidden: Tensor, example_ids: Tensor, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, T, D), ids (B, T), scores (B, H, T, T) of the previous layer -> (B, T, D), scores."""
        query, key, value = self.split(hidden)
        scores = (query * self.shape.scale) @ key.transpose(-2, -1)
        if before is not None:
            scores = scores + before
        mask = (
            self.pattern.mask(example_ids, example_ids, None)
            if self.packed is None
            else self.packed.mask(self.pattern, example_ids, None)
        )
        seen = scores.masked_fill(~mask, float("-inf"))
        weights = seen.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
        return self.merge(self.dropout(weights) @ value), scores
