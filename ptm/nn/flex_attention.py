"""Self-attention with torch's FlexAttention, which skips blocks that are masked completely.

With packed rows, windows and causal masks, most blocks are. Relative position biases are added
inside the kernel, from a vector of distances: no (B, H, T, T) tensor is materialised.
FlexAttention has no dropout, and its backward pass runs on GPUs only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.utils.weak import WeakTensorKeyDictionary

from ptm.nn.attention import SelfAttention
from ptm.nn.attention_mask import AttentionPattern

# B rows, T tokens per row, H query heads, G key and value heads, S head size.


def use_flex_attention(model: nn.Module) -> None:
    """Make all self-attention of `model` use FlexAttention, except in generation with a cache."""
    masks = BlockMasks()
    for module in model.modules():
        if isinstance(module, SelfAttention):
            module.kernel = FlexKernel(masks, module.pattern, scale=module.shape.scale)


class BlockMasks:
    """The block masks of a micro-batch, built once for all layers with one attention pattern."""

    def __init__(self) -> None:
        self._found: Any = WeakTensorKeyDictionary()

    def of(
        self, pattern: AttentionPattern, example_ids: Tensor, segment_ids: Tensor | None
    ) -> BlockMask:
        """The block mask of `pattern` for example ids (B, T) and, for `prefix`, segments (B, T)."""
        known = self._found.setdefault(example_ids, {})
        if pattern not in known:
            known[pattern] = _block_mask(pattern, example_ids, segment_ids)
        return cast(BlockMask, known[pattern])


class FlexKernel:
    """Replaces scaled dot product attention in one layer."""

    def __init__(self, masks: BlockMasks, pattern: AttentionPattern, *, scale: float) -> None:
        self._masks = masks
        self._pattern = pattern
        self._scale = scale

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
    ) -> Tensor:
        assert not dropout, "FlexAttention has no dropout"
        mixed: Tensor = _compiled_flex_attention(query.device.type)(
            query,
            key,
            value,
            score_mod=None if position_bias is None else _bias_score_mod(position_bias),
            block_mask=self._masks.of(self._pattern, example_ids, segment_ids),
            scale=self._scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return mixed


@cache
def _compiled_flex_attention(device: str) -> Callable[..., Any]:
    """FlexAttention, compiled on CUDA; elsewhere the eager reference implementation."""
    if device != "cuda":
        return flex_attention
    return torch.compile(flex_attention, dynamic=False)


def _bias_score_mod(bias: Tensor) -> Callable[..., Tensor]:
    """Add the bias (H, 2T - 1) of the distance between key and query to each score."""
    # The distances ascend from 1 - T.
    before = bias.shape[1] // 2

    def score(score: Tensor, row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + bias[head, key - query + before]

    return score


def _block_mask(
    pattern: AttentionPattern, example_ids: Tensor, segment_ids: Tensor | None
) -> BlockMask:
    segments = example_ids if segment_ids is None else segment_ids

    def seen(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return pattern.allows(
            example_ids[row, query], example_ids[row, key], query - key, segments[row, key]
        )

    rows, length = example_ids.shape
    return create_block_mask(seen, rows, None, length, length, device=str(example_ids.device))
