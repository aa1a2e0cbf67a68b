"""Keeps the C library from giving large blocks back to the kernel between two steps."""

from __future__ import annotations

import ctypes
import sys

import torch

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_ONE_GIGABYTE = 2**30


def keep_large_blocks() -> None:
    """On a CPU, let the same memory serve step after step.

    glibc maps every block above 32 MB anew and unmaps it when it is freed. The logits of a small
    model with a large vocabulary are such blocks: their page faults alone can take several times
    as long as the arithmetic. On another C library, or with a GPU, nothing is changed.
    """
    if torch.cuda.is_available() or not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _ONE_GIGABYTE)
        mallopt(_TRIM_THRESHOLD, 2 * _ONE_GIGABYTE - 1)
