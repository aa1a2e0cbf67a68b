"""The lengths of documents as a histogram, and the rows that they would fill.

Shapes: D documents, N distinct lengths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64
from ptm.data.packing import rows_needed

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
ROW_LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)
_ALWAYS_SHOWN = 1024


@dataclass(frozen=True)
class Bucket:
    """The documents of `first` to `last` tokens, and all their tokens."""

    first: int
    last: int
    documents: int
    tokens: int

    @property
    def range(self) -> str:
        """`1`, `2 - 3`, `1,024 - 2,047`."""
        return f"{self.first:,} - {self.last:,}" if self.last > self.first else f"{self.first}"


@dataclass(frozen=True)
class RowFill:
    """Rows of `row_length` tokens, filled with the documents of a store.

    Special tokens are not counted. `examples`: documents, or chunks of at most one row if long
    documents continue in further rows; without packing, each has a row of its own.
    """

    row_length: int
    examples: int
    packed_rows: int
    cells_filled: int
    """Tokens in the rows, packed or not."""
    longer_documents: int
    tokens_cut_off: int
    """Tokens after the first `row_length` of each document."""

    @property
    def fill(self) -> float:
        """Share of the cells that hold tokens with one example per row."""
        return self.cells_filled / (self.examples * self.row_length)

    @property
    def packed_fill(self) -> float:
        """Share of the cells that hold tokens if short examples share rows."""
        return self.cells_filled / (self.packed_rows * self.row_length)


@dataclass(frozen=True)
class LengthHistogram:
    """How many documents have each length: `lengths` (N, ascending, in tokens), `counts` (N)."""

    lengths: I64
    counts: I64

    @staticmethod
    def of(lengths: Iterable[I64]) -> LengthHistogram:
        """Count several arrays of lengths, one after another."""
        total = LengthHistogram(np.empty(0, np.int64), np.empty(0, np.int64))
        for some in lengths:
            total = total.added(LengthHistogram(*np.unique(some, return_counts=True)))
        return total

    def added(self, other: LengthHistogram) -> LengthHistogram:
        """The histogram of the documents of both."""
        lengths, owner = np.unique(
            np.concatenate([self.lengths, other.lengths]), return_inverse=True
        )
        counts = np.zeros(lengths.size, dtype=np.int64)
        np.add.at(counts, owner, np.concatenate([self.counts, other.counts]))
        return LengthHistogram(lengths, counts)

    @property
    def documents(self) -> int:
        """Number of documents."""
        return int(self.counts.sum())

    @property
    def tokens(self) -> int:
        """Number of tokens of all documents."""
        return int((self.lengths * self.counts).sum())

    @property
    def shortest(self) -> int:
        """Tokens of the shortest document."""
        return int(self.lengths[0])

    @property
    def longest(self) -> int:
        """Tokens of the longest document."""
        return int(self.lengths[-1])

    def quantile(self, share: float) -> int:
        """The smallest length that at least `share` of the documents do not exceed."""
        ends = np.cumsum(self.counts)
        return int(self.lengths[np.searchsorted(ends, share * ends[-1])])

    def buckets(self) -> Iterator[Bucket]:
        """Yield the documents by length: 1, 2-3, 4-7, 8-15 tokens … up to the longest."""
        first = 1 << (self.shortest.bit_length() - 1)
        while first <= self.longest:
            within = slice(*np.searchsorted(self.lengths, [first, 2 * first]).tolist())
            counts, lengths = self.counts[within], self.lengths[within]
            yield Bucket(first, 2 * first - 1, int(counts.sum()), int((counts * lengths).sum()))
            first *= 2

    def row_fill(self, row_length: int, *, continues: bool) -> RowFill:
        """Return how rows of `row_length` tokens are filled.

        `continues`: whether the rest of a longer document fills further rows; it is cut off
        otherwise.
        """
        whole, rest = np.divmod(self.lengths, row_length)
        histogram = np.zeros(row_length + 1, dtype=np.int64)
        if continues:
            histogram[row_length] = int((whole * self.counts).sum())
            np.add.at(histogram, rest[rest > 0], self.counts[rest > 0])
        else:
            np.add.at(histogram, np.minimum(self.lengths, row_length), self.counts)
        beyond = np.maximum(self.lengths - row_length, 0)
        return RowFill(
            row_length=row_length,
            examples=int(histogram.sum()),
            packed_rows=rows_needed(histogram, row_length),
            cells_filled=int((histogram * np.arange(row_length + 1)).sum()),
            longer_documents=int(self.counts[beyond > 0].sum()),
            tokens_cut_off=int((beyond * self.counts).sum()),
        )

    def row_fills(self, *, continues: bool, own: int | None) -> list[RowFill]:
        """Return `row_fill` of the common row lengths and of `own`, ascending.

        Row lengths above 1,024 are left out if a shorter one holds every document whole.
        """
        needed = min((n for n in ROW_LENGTHS if n >= self.longest), default=ROW_LENGTHS[-1])
        chosen = {n for n in ROW_LENGTHS if n <= max(needed, _ALWAYS_SHOWN)}
        chosen |= {own} if own is not None else set()
        return [self.row_fill(n, continues=continues) for n in sorted(chosen)]
