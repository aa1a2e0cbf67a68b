"""Attention by torch's FlexAttention: blocks of a row that nobody may see are not computed.

Packed rows, windows and causal rows are mostly such blocks, and relative positions are added within
the kernel, so that no (B, H, T, T) tensor stands. It has no dropout and learns on GPUs alone.
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
from ptm.nn.visibility import Sight

# B rows, T tokens a row, H heads, G heads of keys and values, S size of a head.


def use_flex_attention(model: nn.Module) -> None:
    """Have all self-attention of `model` computed by it, but for text that is generated."""
    masks = BlockMasks()
    for module in model.modules():
        if isinstance(module, SelfAttention):
            module.kernel = FlexKernel(masks, module.sight, scale=module.shape.scale)


class BlockMasks:
    """The blocks that are seen in a micro-batch, found once for all layers that see alike."""

    def __init__(self) -> None:
        self._found: Any = WeakTensorKeyDictionary()

    def of(self, sight: Sight, example_ids: Tensor, segment_ids: Tensor | None) -> BlockMask:
        """Example ids (B, T), segments (B, T) where prefixes are seen."""
        known = self._found.setdefault(example_ids, {})
        if sight not in known:
            known[sight] = _block_mask(sight, example_ids, segment_ids)
        return cast(BlockMask, known[sight])


class FlexKernel:
    """Takes the place of scaled dot product attention in one layer."""

    def __init__(self, masks: BlockMasks, sight: Sight, *, scale: float) -> None:
        self._masks = masks
        self._sight = sight
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
    ) -> Tensor:
        """(B, H, T, S), (B, G, T, S) twice, (B, T), (B, T), (1, H, T, T) -> (B, H, T, S)."""
        mixed: Tensor = _kernel(query.device.type)(
            query,
            key,
            value,
            score_mod=None if position_bias is None else _added(position_bias),
            block_mask=self._masks.of(self._sight, example_ids, segment_ids),
            scale=self._scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return mixed


@cache
def _kernel(device: str) -> Callable[..., Any]:
    """Compiled where that is what makes it fast; as it is defined elsewhere."""
    if device != "cuda":
        return flex_attention
    return torch.compile(flex_attention, dynamic=False)


def _added(bias: Tensor) -> Callable[..., Tensor]:
    def score(score: Tensor, row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + bias[0, head, query, key]

    return score


def _block_mask(sight: Sight, example_ids: Tensor, segment_ids: Tensor | None) -> BlockMask:
    segments = example_ids if segment_ids is None else segment_ids

    def seen(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return sight.allows(
            example_ids[row, query], example_ids[row, key], query - key, segments[row, key]
        )

    rows, length = example_ids.shape
    return create_block_mask(seen, rows, None, length, length, device=str(example_ids.device))
