"""The order of a mixture: which source each row comes from, computed from the row's position alone.

A source with share w of the rows gives its row k (from 0) at the time (k + 1/2) / w, and the rows
of all sources follow each other by these times: stride scheduling (Waldspurger and Weihl 1995,
"Stride Scheduling: Deterministic Proportional-Share Resource Management"), whose quotas are those
of Webster's method of apportionment. Nothing is drawn at random, so every stretch of rows, and with
it every global batch, has the shares of the mixture as closely as whole rows allow: after any
number of rows, a source among M has at most (1 + M w) / 2 rows more or less than its share.

Shares are rounded to multiples of 1 / 90,000 (largest remainders), so that the order repeats after
a block of at most 90,000 rows. One block is stored; positions beyond it are arithmetic.

Shapes: M sources, B rows per block, N positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ptm.arrays import I64, ragged_arange

LONGEST_BLOCK = 90_000
"""The most rows after which the order of sources repeats; a share is a multiple of its inverse.
Four decimals, thirds and ninths are exact."""


def shares_of(weights: Sequence[float]) -> tuple[float, ...]:
    """Return `weights` (M, each positive and finite) divided by their sum."""
    # First by the largest, since the sum of very large numbers is infinite.
    relative = [weight / max(weights) for weight in weights]
    return tuple(weight / math.fsum(relative) for weight in relative)


def rows_per_block(weights: Sequence[float]) -> tuple[int, ...]:
    """Return how many rows of a block each source has (M), proportional to `weights` (M).

    The smallest numbers that have the same proportions. 0 for a source with a share of less than
    about 1 / 180,000.
    """
    quotas = np.array(shares_of(weights)) * LONGEST_BLOCK
    rows = np.floor(quotas).astype(np.int64)
    missing = LONGEST_BLOCK - int(rows.sum())
    # The largest remainders are rounded up; of equal ones, those of the first sources.
    rows[np.argsort(rows - quotas, kind="stable")[:missing]] += 1
    return tuple((rows // np.gcd.reduce(rows)).tolist())


class Mixture:
    """The order of the rows of M sources; `weights` (M): their shares, in any unit."""

    def __init__(self, weights: Sequence[float]) -> None:
        self.shares = shares_of(weights)
        self._rows = np.array(rows_per_block(weights), dtype=np.int64)
        assert (self._rows > 0).all(), f"a weight is too small: {weights}"
        self._block = int(self._rows.sum())
        # Per row of the block, source by source: its number within the source, its source, and the
        # time at which it is due. Equal times are equal floats, so ties go to the first source.
        number, source = ragged_arange(self._rows), np.repeat(np.arange(len(weights)), self._rows)
        order = np.argsort((2 * number + 1) / self._rows[source], kind="stable")
        # In the order of the block (B): the source of each row, and its number within the source.
        self._source, self._number = source[order], number[order]
        # Per source, the places of its rows in the block, ascending.
        places = np.argsort(order, kind="stable")
        bounds = np.concatenate([[0], np.cumsum(self._rows)]).tolist()
        self._places = [places[begin:end] for begin, end in pairwise(bounds)]

    def locate(self, positions: I64) -> tuple[I64, I64]:
        """Map `positions` (N) in the mixture to sources (N) and positions within these (N)."""
        block, place = np.divmod(positions, self._block)
        sources = self._source[place]
        return sources, block * self._rows[sources] + self._number[place]

    def rows_before(self, position: int) -> tuple[int, ...]:
        """Return how many of the first `position` rows each source has (M)."""
        block, place = divmod(position, self._block)
        return tuple(
            block * int(rows) + int(np.searchsorted(places, place))
            for rows, places in zip(self._rows, self._places, strict=True)
        )

    def length_of(self, source: int, rows: int) -> int:
        """Return after how many rows of the mixture `source` has given `rows` (1 or more) rows."""
        block, number = divmod(rows - 1, int(self._rows[source]))
        return block * self._block + int(self._places[source][number]) + 1
