"""Attention over the examples of packed rows as sequences of their own, by FlashAttention.

The kernel reads the cumulative lengths of the sequences. It computes no score between different
examples and reads no mask (Dao 2023, "FlashAttention-2"). It runs on GPUs, in half precision.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ptm.nn.attention import CrossAttention, SelfAttention
from ptm.nn.attention_mask import AttentionPattern
from ptm.nn.packed_examples import PackedExamples

# B rows, T tokens per row, H query heads, G key and value heads, S head size, N = B T cells,
# M sequences; in cross-attention: Q query and K key tokens per row.

_LARGEST_HEAD, _HEAD_MULTIPLE = 256, 8


class VarlenFunction(Protocol):
    """Attention within sequences, each of which has queries and keys."""

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        offsets: Tensor,
        key_offsets: Tensor,
        longest: int,
        *,
        window: tuple[int, int],
        dropout: float,
        scale: float,
    ) -> Tensor:
        """Query (N, H, S), key and value (N, G, S), offsets (M + 1) -> (N, H, S).

        `window`: keys before and after a query that it attends to; -1: all. `longest`: an upper
        bound of the sequences' lengths.
        """
        ...


def flash_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    offsets: Tensor,
    key_offsets: Tensor,
    longest: int,
    *,
    window: tuple[int, int],
    dropout: float,
    scale: float,
) -> Tensor:
    """torch's `varlen_attn`; with dropout, the operator below it, which `varlen_attn` lacks."""
    if not dropout:
        from torch.nn.attention.varlen import varlen_attn

        options: dict[str, Any] = {"scale": scale, "window_size": window}
        if query.shape[1] != key.shape[1] and _takes_groups():
            options["enable_gqa"] = True
        mixed = varlen_attn(query, key, value, offsets, key_offsets, longest, longest, **options)
        assert isinstance(mixed, Tensor), "a tuple is returned only if more is requested"
        return mixed
    return flash_operator(
        query,
        key,
        value,
        offsets,
        key_offsets,
        longest,
        window=window,
        dropout=dropout,
        scale=scale,
    )


def flash_operator(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    offsets: Tensor,
    key_offsets: Tensor,
    longest: int,
    *,
    window: tuple[int, int],
    dropout: float,
    scale: float,
) -> Tensor:
    """The operator below `varlen_attn`, which has dropout and no public name."""
    is_causal = window == (-1, 0)
    output: Tensor = torch.ops.aten._flash_attention_forward(
        query,
        key,
        value,
        offsets,
        key_offsets,
        longest,
        longest,
        dropout,
        is_causal,
        False,
        scale=scale,
        window_size_left=window[0],
        window_size_right=window[1],
    )[0]
    return output


@cache
def _takes_groups() -> bool:
    """Whether this torch has the option; older ones accept fewer key heads without it."""
    from torch.nn.attention.varlen import varlen_attn

    return "enable_gqa" in inspect.signature(varlen_attn).parameters


def use_varlen_attention(model: nn.Module, packed: PackedExamples, attend: VarlenFunction) -> None:
    """Make the attention layers of `model` that `attend` can express use it.

    The others (position biases, prefixes, RealFormer's scores, other head sizes) keep scaled dot
    product attention.
    """
    for module in model.modules():
        if not isinstance(module, SelfAttention | CrossAttention):
            continue
        size = module.shape.head_size
        if size > _LARGEST_HEAD or size % _HEAD_MULTIPLE:
            continue
        if isinstance(module, CrossAttention):
            module.kernel = CrossVarlenKernel(packed, scale=module.shape.scale, attend=attend)
        elif module.pattern.visibility != "prefix":
            module.kernel = VarlenKernel(
                packed, module.pattern, scale=module.shape.scale, attend=attend
            )


class VarlenKernel:
    """Replaces scaled dot product attention in one self-attention layer."""

    def __init__(
        self,
        packed: PackedExamples,
        pattern: AttentionPattern,
        *,
        scale: float,
        attend: VarlenFunction,
    ) -> None:
        self._packed = packed
        self._window = _window(pattern)
        self._scale = scale
        self._attend = attend

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
        """(B, H, T, S), or None if there is a position bias, which the kernel cannot add."""
        if position_bias is not None:
            return None
        offsets = self._packed.offsets(example_ids)
        return _attend_rows(
            self._attend,
            query,
            key,
            value,
            (offsets, offsets),
            longest=_longest(self._packed),
            window=self._window,
            dropout=dropout,
            scale=self._scale,
        )


class CrossVarlenKernel:
    """Replaces scaled dot product attention in one cross-attention layer."""

    def __init__(self, packed: PackedExamples, *, scale: float, attend: VarlenFunction) -> None:
        self._packed = packed
        self._scale = scale
        self._attend = attend

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
        return _attend_rows(
            self._attend,
            query,
            key,
            value,
            (self._packed.offsets(example_ids), self._packed.offsets(memory_ids)),
            longest=_longest(self._packed),
            window=(-1, -1),
            dropout=dropout,
            scale=self._scale,
        )


def _attend_rows(
    attend: VarlenFunction,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    offsets: tuple[Tensor, Tensor],
    *,
    longest: int,
    window: tuple[int, int],
    dropout: float,
    scale: float,
) -> Tensor:
    """Flatten the rows, attend within sequences, and restore the rows: all (B, heads, T, S)."""
    # Views, as long as heads were split from (B, T, heads x S).
    queries, keys, values = (part.transpose(1, 2).flatten(0, 1) for part in (query, key, value))
    mixed = attend(
        queries, keys, values, *offsets, longest, window=window, dropout=dropout, scale=scale
    )
    return mixed.view(len(query), -1, *mixed.shape[1:]).transpose(1, 2)


def _window(pattern: AttentionPattern) -> tuple[int, int]:
    before = -1 if pattern.window is None else pattern.window // 2
    return (before, 0 if pattern.visibility == "causal" else before)


def _longest(packed: PackedExamples) -> int:
    """The longest sequence, rounded up to a power of two, so that few values occur."""
    assert packed.shape is not None, "the shape is set before each step"
    return 1 << max(0, packed.shape.longest - 1).bit_length()
