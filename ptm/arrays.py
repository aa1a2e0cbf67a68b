"""Ragged arrays: the values of many examples, one example after another, in one flat array.

Two descriptions of the same cut are used. `lengths` (E) is the number of values of each example;
`owner` (N) is the example of each of the N values (ascending). Everything is
int64 and vectorised over all examples: no function loops over them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
Flags = NDArray[np.bool_]


def exclusive_cumsum(lengths: I64) -> I64:
    """The sum of all earlier entries (E): where each example begins in the flat array."""
    return np.asarray(np.cumsum(lengths) - lengths)


def owner_of(lengths: I64) -> I64:
    """The example of every value (N): 0 `lengths[0]` times, then 1 `lengths[1]` times …"""
    return np.repeat(np.arange(lengths.size), lengths)


def ragged_ranges(starts: I64, lengths: I64) -> I64:
    """`arange(start, start + length)` of every pair, one after another."""
    total = int(lengths.sum())
    before = exclusive_cumsum(lengths)
    positions: I64 = np.arange(total, dtype=np.int64) + np.repeat(starts - before, lengths)
    return positions


def ragged_arange(lengths: I64) -> I64:
    """0, 1, … `length - 1` of every length, one after another: places within examples."""
    return np.arange(int(lengths.sum()), dtype=np.int64) - np.repeat(
        exclusive_cumsum(lengths), lengths
    )


def index_within(owner: I64) -> I64:
    """0, 1, 2 … within each run of equal `owner`: as `ragged_arange`, without the lengths."""
    return np.arange(owner.size) - np.searchsorted(owner, owner, side="left")


def sum_before(values: I64, owner: I64) -> I64:
    """For every value (N), the sum of the earlier values of the same `owner`."""
    total = np.concatenate([[0], np.cumsum(values)])
    first = np.searchsorted(owner, owner, side="left")
    return np.asarray(total[:-1] - total[first], dtype=np.int64)


def visited(following: I64, roots: I64) -> Flags:
    """Which of 0..n-1 are visited from `roots` when i leads to `following[i]` > i (n: end).

    Pointer doubling: after round k, `jump` leads 2^k steps ahead and everything within 2^k steps of
    a root is marked, so a path of n steps takes log2(n) rounds.
    """
    end = following.size
    jump = np.append(following, end)
    met = np.zeros(end + 1, dtype=bool)
    met[roots] = True
    while (jump < end).any():
        met[jump[met]] = True
        jump = jump[jump]
    return met[:-1]
