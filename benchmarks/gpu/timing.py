"""The device, and the time that a call takes on it."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable

import torch

_L2_ELEMENTS = 2**26
"""256 MB in fp32, more than any second-level cache."""


def the_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronise() -> None:
    """Wait for the GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def free_memory() -> float:
    """Free what is no longer used on the GPU, and forget the peak; return the GiB still in use."""
    gc.collect()
    if not torch.cuda.is_available():
        return 0.0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated() / 2**30


def peak_gib() -> float:
    """The most memory that torch has allocated on the GPU since `free_memory`."""
    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0


def seconds_of(call: Callable[[], object], *, warm: int = 3, times: int = 10) -> float:
    """Median time of `call` on the device, whose second-level cache is overwritten before each."""
    is_gpu = torch.cuda.is_available()
    cache = torch.empty(_L2_ELEMENTS if is_gpu else 1, device=the_device())
    for _ in range(warm):
        call()
    found = []
    for _ in range(times):
        cache.zero_()
        found.append(_by_events(call) if is_gpu else _by_clock(call))
    return statistics.median(found)


def _by_events(call: Callable[[], object]) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    call()
    end.record()
    end.synchronize()
    milliseconds: float = begin.elapsed_time(end)
    return milliseconds / 1000


def _by_clock(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
