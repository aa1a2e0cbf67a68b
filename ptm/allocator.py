"""How glibc's allocator treats large memory blocks on a CPU."""

from __future__ import annotations

import ctypes
import sys

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_TWO_MEGABYTES = 2**21
_ONE_GIGABYTE = 2**30


def keep_large_allocations() -> None:
    """On a CPU, make glibc reuse large memory blocks from step to step.

    By default glibc maps every block above 32 MB anew and unmaps it when it is freed. The logits
    of a small model with a large vocabulary are that large: their page faults alone can take
    several times as long as the arithmetic. Does nothing with a GPU or another C library.
    """
    _mallopt(_MMAP_THRESHOLD, _ONE_GIGABYTE)
    _mallopt(_TRIM_THRESHOLD, 2 * _ONE_GIGABYTE - 1)


def return_large_allocations() -> None:
    """On a CPU, make glibc return large memory blocks to the system as soon as they are freed.

    For work whose batches differ in size, such as prediction. By default glibc keeps freed blocks
    of up to 32 MB to use them again, but blocks of another size leave gaps: a base model then
    predicts in 1,040 MB instead of 850 MB (benchmarks/README.md). Does nothing with a GPU or
    another C library.
    """
    _mallopt(_MMAP_THRESHOLD, _TWO_MEGABYTES)


def _mallopt(parameter: int, value: int) -> None:
    import torch

    if torch.cuda.is_available() or not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(parameter, value)
