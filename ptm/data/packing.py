"""Packing: several short examples share a row, found from the histogram of lengths alone.

Best-fit decreasing over counts instead of examples (Krell et al. 2021, "Efficient sequence packing
without cross-contamination", section 3): the work depends on the number of distinct lengths, not on
the number of examples. No maintained library packs from a histogram, and two sides at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64, exclusive_cumsum


@dataclass(frozen=True)
class RowSize:
    """The most tokens a row has, and on a decoder's side, where there is one."""

    source: int
    target: int


@dataclass(frozen=True)
class Rows:
    """Examples grouped into rows: row r holds `examples[ends[r-1]:ends[r]]`."""

    examples: I64
    ends: I64

    def __len__(self) -> int:
        return len(self.ends)

    def members(self, rows: I64) -> tuple[I64, I64]:
        """The examples of `rows`, one row after another, and how many each row holds."""
        begins = np.where(rows > 0, self.ends[rows - 1], 0)
        counts = self.ends[rows] - begins
        total = int(counts.sum())
        before = exclusive_cumsum(counts)
        index = np.arange(total, dtype=np.int64) + np.repeat(begins - before, counts)
        return np.asarray(self.examples[index]), counts


def one_a_row(examples: int) -> Rows:
    """No packing: every example is a row of its own."""
    return Rows(np.arange(examples, dtype=np.int64), np.arange(1, examples + 1, dtype=np.int64))


def pack_sides(lengths: I64, size: RowSize) -> Rows:
    """Rows that hold every example once, on each of its sides.

    `lengths` (E, sides): tokens on the source's side, and on the target's where there is one. An
    example takes as much of a row as of the side it fills more: whatever shares a row on one side
    then fits on the other.
    """
    if lengths.shape[1] == 1:
        return pack(lengths[:, 0], size.source)
    capacity = max(size.source, size.target)
    shares = -(-lengths * capacity // np.array([size.source, size.target]))
    return pack(shares.max(axis=1), capacity)


def pack(lengths: I64, capacity: int) -> Rows:
    """Rows of at most `capacity` tokens that together hold every example once.

    `lengths` (N): tokens of each example, none longer than `capacity`. Deterministic.
    """
    assert lengths.size == 0 or int(lengths.max()) <= capacity, "an example is longer than a row"
    patterns = _patterns(np.bincount(lengths, minlength=capacity + 1), capacity)
    by_length = np.argsort(lengths, kind="stable")
    next_of = np.concatenate([[0], np.cumsum(np.bincount(lengths, minlength=capacity + 1))])
    row_parts: list[I64] = []
    size_parts: list[I64] = []
    for pattern, repeats in patterns:
        columns = []
        for length in pattern:
            begin = int(next_of[length])
            columns.append(by_length[begin : begin + repeats])
            next_of[length] = begin + repeats
        row_parts.append(np.stack(columns, axis=1).ravel())
        size_parts.append(np.full(repeats, len(pattern), dtype=np.int64))
    empty = np.empty(0, dtype=np.int64)
    return Rows(
        np.concatenate([empty, *row_parts]), np.cumsum(np.concatenate([empty, *size_parts]))
    )


def _patterns(histogram: I64, capacity: int) -> list[tuple[tuple[int, ...], int]]:
    """(lengths that share a row, number of such rows); longest first, each into the best fit."""
    open_rows: list[list[tuple[tuple[int, ...], int]]] = [[] for _ in range(capacity + 1)]
    for length in range(capacity, 0, -1):
        remaining = int(histogram[length])
        while remaining:
            space = next((s for s in range(length, capacity) if open_rows[s]), None)
            if space is None:
                each = min(capacity // length, remaining)
                repeats = remaining // each
                open_rows[capacity - each * length].append(((length,) * each, repeats))
                remaining -= each * repeats
                continue
            pattern, repeats = open_rows[space].pop()
            used = min(repeats, remaining)
            if repeats > used:
                open_rows[space].append((pattern, repeats - used))
            open_rows[space - length].append(((*pattern, length), used))
            remaining -= used
    return [entry for entries in open_rows for entry in entries]
