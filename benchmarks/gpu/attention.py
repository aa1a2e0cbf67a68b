"""Time of the implementations of attention, forward and backward, on packed rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.gpu.figures import Bench
from benchmarks.gpu.timing import free_memory, seconds_of, the_device
from ptm.model.flops import visible_pairs
from ptm.nn.attention_mask import AttentionPattern, same_example
from ptm.nn.packed_examples import sequence_offsets
from ptm.nn.varlen_attention import flash_operator, flash_varlen

_HEADS, _SIZE = 12, 64
_SHAPES = ((256, 128), (64, 512), (32, 1024), (8, 8192))
_FLEX_SHAPES = ((64, 512), (8, 8192))
"""Each takes many seconds to compile."""
_LONGEST_MASK = 1024
"""A dense mask of longer rows takes gigabytes."""
_SHORT = (12, 16, 20, 25, 30, 37, 46, 60, 90)
"""Tokens of short texts, in turn."""
_WINDOW = 128
"""ModernBERT's: 64 tokens on each side."""
_WITHOUT_CUDNN = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)
"""The kernels that torch chooses from in a training of ptm."""
_BACKENDS = (SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION)
_PASSES = 3.5
"""Products of forward and backward pass per product of the forward pass (FlashAttention-2)."""


@dataclass(frozen=True)
class Rows:
    """Packed rows (B, T) and random queries, keys and values (B, T, H, S) of them."""

    ids: Tensor
    lengths: tuple[int, ...]
    parts: tuple[Tensor, Tensor, Tensor]

    @property
    def is_full(self) -> bool:
        """Whether each row is one example."""
        return len(self.lengths) == len(self.ids)

    def flops(self, pattern: AttentionPattern) -> float:
        """Operations of forward and backward pass over the pairs that `pattern` shows."""
        lengths = np.array(self.lengths)
        pairs = int(visible_pairs(pattern, lengths, np.zeros_like(lengths)).sum())
        return 4 * pairs * _HEADS * _SIZE * _PASSES


def made_rows(rows: int, columns: int, *, short: bool) -> Rows:
    ids = torch.zeros(rows, columns, dtype=torch.long)
    lengths: list[int] = []
    for row in ids:
        at, number = 0, 1
        while at < columns:
            length = min(columns - at, _SHORT[len(lengths) % len(_SHORT)] if short else columns)
            row[at : at + length] = number
            lengths.append(length)
            at, number = at + length, number + 1
    device = the_device()
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    shape = (rows, columns, _HEADS, _SIZE)
    query, key, value = (
        torch.randn(shape, device=device, dtype=dtype, requires_grad=True) for _ in range(3)
    )
    return Rows(ids.to(device), tuple(lengths), (query, key, value))


Attend = Callable[[], Tensor]


def run(bench: Bench) -> None:
    for rows, columns in ((2, 64),) if bench.dry else _SHAPES:
        for texts in ("full", "short"):
            names = {"rows": f"{rows} x {columns}", "texts": texts}
            if not bench.may_run("attention", **names):
                continue
            free_memory()
            torch.compiler.reset()
            made = made_rows(rows, columns, short=texts == "short")
            for name, pattern, prepare in _implementations(made):
                with bench.case("attention", **names, implementation=name):
                    seconds = _both_passes(prepare(), made)
                    bench.record(
                        "attention",
                        **names,
                        implementation=name,
                        ms=1e3 * seconds,
                        **{"TFLOP/s": made.flops(pattern) / seconds / 1e12},
                    )
            if made.ids.is_cuda and made.ids.shape in _FLEX_SHAPES:
                mask = {"implementation": "block mask of flex"}
                with bench.case("attention", **names, **mask):
                    seconds = seconds_of(_block_mask(made.ids), times=3)
                    bench.record("attention", **names, **mask, ms=1e3 * seconds)
            del made


def _both_passes(attend: Attend, rows: Rows) -> float:
    gradient = torch.randn_like(rows.parts[0])

    def call() -> None:
        attend().backward(gradient)
        for part in rows.parts:
            part.grad = None

    return seconds_of(call, times=5)


Implementation = tuple[str, AttentionPattern, Callable[[], Attend]]
"""Name, what a query attends to, and what makes the function to time."""


def _implementations(rows: Rows) -> Iterator[Implementation]:
    full, window = AttentionPattern(), AttentionPattern(window=_WINDOW)
    for masked in (True, False):
        if rows.ids.shape[1] > _LONGEST_MASK if masked else not rows.is_full:
            continue
        name = f"sdpa {'with' if masked else 'without'} mask"
        yield name, full, partial(_sdpa, rows, masked=masked)
        yield f"{name}, dropout 0.1", full, partial(_sdpa, rows, masked=masked, dropout=0.1)
        for backend in _BACKENDS if rows.ids.is_cuda else ():
            of_backend = f"{name}, {backend.name.lower()}"
            yield of_backend, full, partial(_sdpa, rows, masked=masked, backends=(backend,))
    if not rows.ids.is_cuda:
        return
    yield "varlen", full, partial(_varlen, rows, flash_varlen)
    yield "varlen, dropout 0.1", full, partial(_varlen, rows, flash_operator, dropout=0.1)
    yield "varlen, window", window, partial(_varlen, rows, flash_varlen, window=_WINDOW // 2)
    if rows.ids.shape in _FLEX_SHAPES:
        yield "flex", full, partial(_flex, rows)


def _sdpa(
    rows: Rows,
    *,
    masked: bool,
    dropout: float = 0.0,
    backends: Sequence[SDPBackend] = _WITHOUT_CUDNN,
) -> Attend:
    mask = same_example(rows.ids, rows.ids) if masked else None

    def attend() -> Tensor:
        query, key, value = (part.transpose(1, 2) for part in rows.parts)
        with sdpa_kernel(list(backends)):
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, dropout_p=dropout
            ).transpose(1, 2)

    return attend


def _varlen(rows: Rows, kernel: Any, *, dropout: float = 0.0, window: int = -1) -> Attend:
    offsets = sequence_offsets(rows.ids, int(rows.ids.max()))
    longest = 1 << (max(rows.lengths) - 1).bit_length()

    def attend() -> Tensor:
        query, key, value = (part.flatten(0, 1) for part in rows.parts)
        options = {"window": (window, window), "dropout": dropout, "scale": _SIZE**-0.5}
        mixed: Tensor = kernel(query, key, value, offsets, offsets, longest, **options)
        return mixed.view_as(rows.parts[0])

    return attend


def _flex(rows: Rows) -> Attend:
    from torch.nn.attention.flex_attention import flex_attention

    compiled: Any = torch.compile(flex_attention, dynamic=False)
    blocks = _block_mask(rows.ids)()

    def attend() -> Tensor:
        query, key, value = (part.transpose(1, 2) for part in rows.parts)
        mixed: Tensor = compiled(query, key, value, block_mask=blocks)
        return mixed.transpose(1, 2)

    return attend


def _block_mask(ids: Tensor) -> Callable[[], Any]:
    """The function that computes the block mask of rows with these example ids (B, T)."""
    from torch.nn.attention.flex_attention import create_block_mask

    def is_visible(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return ids[row, query] == ids[row, key]

    # Compiled, so that no mask of all pairs is in memory.
    compiled: Any = torch.compile(create_block_mask)
    rows, columns = ids.shape
    return partial(compiled, is_visible, rows, None, columns, columns, device=str(ids.device))
