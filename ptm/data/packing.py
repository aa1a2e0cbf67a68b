"""Packing: several short examples share a row, chosen from the histogram of lengths alone.

Best-fit decreasing over counts instead of examples (Krell et al. 2021, "Efficient sequence packing
without cross-contamination", section 3): the work depends on the number of distinct lengths, not on
the number of examples. No maintained library packs from a histogram and two sides at once.

Shapes: E examples, R rows, S sides (1, or 2: source and target).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64, exclusive_cumsum


@dataclass(frozen=True)
class RowSize:
    """Maximum tokens of a row; `target`: on the decoder's side of models with a decoder."""

    source: int
    target: int


@dataclass(frozen=True)
class PackedRows:
    """Examples packed into rows: row r holds `examples[ends[r-1]:ends[r]]`.

    `examples` (E): indices of examples. `ends` (R).
    """

    examples: I64
    ends: I64

    def __len__(self) -> int:
        return len(self.ends)

    def members(self, rows: I64) -> tuple[I64, I64]:
        """Return the examples of `rows`, one row after another, and the number per row."""
        begins = np.where(rows > 0, self.ends[rows - 1], 0)
        counts = self.ends[rows] - begins
        total = int(counts.sum())
        before = exclusive_cumsum(counts)
        index = np.arange(total, dtype=np.int64) + np.repeat(begins - before, counts)
        return np.asarray(self.examples[index]), counts


def one_per_row(examples: int) -> PackedRows:
    """Return rows of one example each: no packing."""
    return PackedRows(
        np.arange(examples, dtype=np.int64), np.arange(1, examples + 1, dtype=np.int64)
    )


def pack_sides(lengths: I64, size: RowSize) -> PackedRows:
    """Pack examples with one or two sides into rows; every example is in exactly one row.

    `lengths` (E, S): tokens on each side. An example counts by the side of which it fills the
    larger fraction, so that rows fit on both sides.
    """
    if lengths.shape[1] == 1:
        return pack(lengths[:, 0], size.source)
    # Scale the lengths of both sides to a common capacity, rounding up.
    capacity = max(size.source, size.target)
    shares = -(-lengths * capacity // np.array([size.source, size.target]))
    return pack(shares.max(axis=1), capacity)


def pack(lengths: I64, capacity: int) -> PackedRows:
    """Pack examples into rows of at most `capacity` tokens; every example is in exactly one row.

    `lengths` (E): tokens per example, at most `capacity`. Deterministic.
    """
    assert lengths.size == 0 or int(lengths.max()) <= capacity, "an example is longer than a row"
    patterns = _patterns(np.bincount(lengths, minlength=capacity + 1), capacity)
    # Examples by length; `next_of[n]` is the place in it of the next unused example of length n.
    by_length = np.argsort(lengths, kind="stable")
    next_of = np.concatenate([[0], np.cumsum(np.bincount(lengths, minlength=capacity + 1))])
    row_parts: list[I64] = []
    size_parts: list[I64] = []
    for pattern, repeats in patterns:
        # One column of `repeats` examples per length of the pattern; the lines are the rows.
        columns = []
        for length in pattern:
            begin = int(next_of[length])
            columns.append(by_length[begin : begin + repeats])
            next_of[length] = begin + repeats
        row_parts.append(np.stack(columns, axis=1).ravel())
        size_parts.append(np.full(repeats, len(pattern), dtype=np.int64))
    empty = np.empty(0, dtype=np.int64)
    return PackedRows(
        np.concatenate([empty, *row_parts]), np.cumsum(np.concatenate([empty, *size_parts]))
    )


def best_fit(lengths: I64, limits: tuple[int, ...]) -> I64:
    """Pack a few examples with one or two sides; return the row of each (E), counted from 0.

    `lengths` (E, S): tokens on each side, within `limits` (S) per row. Best-fit decreasing over
    examples: each goes into the row with the least sufficient space on the first side.
    """
    decreasing = np.argsort(-(lengths / np.array(limits)).max(axis=1), kind="stable")
    smallest = tuple(lengths.min(axis=0, initial=max(limits)).tolist())
    sizes = lengths.tolist()
    found = np.empty(len(lengths), dtype=np.int64)
    # (space on each side …, row), by the space on the first side.
    open_rows: list[tuple[int, ...]] = []
    rows = 0
    for example in decreasing.tolist():
        size = sizes[example]
        at = bisect_left(open_rows, (size[0],))
        while at < len(open_rows) and open_rows[at][-2] < size[-1]:
            at += 1
        if at < len(open_rows):
            *spaces, row = open_rows.pop(at)
        else:
            spaces, row = list(limits), rows
            rows += 1
        found[example] = row
        left = [space - length for space, length in zip(spaces, size, strict=True)]
        if all(space >= least for space, least in zip(left, smallest, strict=True)):
            insort(open_rows, (*left, row))
    return found


def rows_needed(histogram: I64, capacity: int) -> int:
    """Return the number of rows of at most `capacity` tokens that `pack` makes.

    `histogram` (capacity + 1): number of examples of each length.
    """
    return sum(repeats for _, repeats in _patterns(histogram, capacity))


def _patterns(histogram: I64, capacity: int) -> list[tuple[tuple[int, ...], int]]:
    """Return (lengths that share a row, number of rows with this pattern).

    Lengths are placed longest first, each into the rows with the least sufficient space.
    `histogram` (capacity + 1): number of examples of each length.
    """
    # open_rows[s]: patterns that leave s tokens free.
    open_rows: list[list[tuple[tuple[int, ...], int]]] = [[] for _ in range(capacity + 1)]
    for length in range(capacity, 0, -1):
        remaining = int(histogram[length])
        while remaining:
            space = next((s for s in range(length, capacity) if open_rows[s]), None)
            if space is None:
                # No row has room: open new ones, filled with as many of this length as fit.
                each = min(capacity // length, remaining)
                repeats = remaining // each
                open_rows[capacity - each * length].append(((length,) * each, repeats))
                remaining -= each * repeats
                continue
            # Add one example to each of `used` rows of a pattern; its other rows stay open.
            pattern, repeats = open_rows[space].pop()
            used = min(repeats, remaining)
            if repeats > used:
                open_rows[space].append((pattern, repeats - used))
            open_rows[space - length].append(((*pattern, length), used))
            remaining -= used
    return [entry for entries in open_rows for entry in entries]
