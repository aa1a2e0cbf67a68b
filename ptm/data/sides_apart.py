"""The two sides of a micro-batch of pairs, each packed into as few rows as it needs.

A row of pairs holds examples whose upper bounds fit both sides, so the shorter side has empty
cells, and so has a side that noise made shorter than its bound. Once a micro-batch is known, its
sources are packed into fewer rows of the encoder and its targets into fewer rows of the decoder.
The encoder's output is then laid out beside the targets (`ptm.nn.memory_rows`), so attention needs
no other masks. Which examples a micro-batch has does not change.

Shapes: B rows, E examples, S and T columns of the encoder's and the decoder's rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, index_within, ragged_ranges, sum_before
from ptm.data.packing import best_fit
from ptm.data.placement import (
    DECODER_EXAMPLE_IDS,
    ENCODER_TENSORS,
    EXAMPLE_IDS,
    example_lengths,
)

Tensors = Mapping[str, NDArray[np.int64]]

MEMORY_IDS = "memory_ids"
"""Example ids of the encoder's output as it is laid out beside the decoder's rows."""
MEMORY_CELLS = "memory_cells"
"""Of each cell of that layout, 1 + its cell in the flattened rows of the encoder; 0: none."""

_MEMORY_LIMIT = 5 / 4
"""How much longer than an encoder's row the sources beside one decoder's row may be. The decoder's
rows are packed better with a higher limit, but its layers project more empty cells."""
_ROW_STEPS, _COLUMN_STEP = 32, 32
"""Rows are a multiple of this part of the most that are possible, and columns of the memory of this
number, so that few shapes occur."""


@dataclass(frozen=True)
class _Layout:
    """Examples in rows of `columns` tokens: their slots from 1 and first cells (E)."""

    slots: I64
    first_cells: I64
    lengths: I64
    rows: int
    columns: int

    @staticmethod
    def of(row: I64, lengths: I64, *, rows: int, columns: int) -> _Layout:
        """The layout of examples of `lengths` (E) in rows `row` (E), in the order of examples."""
        order = np.argsort(row, kind="stable")
        slots, first_cells = np.empty_like(row), np.empty_like(row)
        slots[order] = index_within(row[order]) + 1
        first_cells[order] = row[order] * columns + sum_before(lengths[order], row[order])
        return _Layout(slots, first_cells, lengths, rows, columns)

    @property
    def cells(self) -> I64:
        """The cell of each token, one example after another, in the flattened grid."""
        return ragged_ranges(self.first_cells, self.lengths)

    def grid(self, values: I64) -> NDArray[np.int64]:
        """Lay out the values of all tokens; 0 in the other cells."""
        found = np.zeros(self.rows * self.columns, dtype=np.int64)
        found[self.cells] = values
        return found.reshape(self.rows, self.columns)

    @property
    def example_ids(self) -> NDArray[np.int64]:
        return self.grid(np.repeat(self.slots, self.lengths))


def pack_sides_apart(tensors: Tensors) -> dict[str, NDArray[np.int64]]:
    """Pack the encoder's tensors (B, S) and all others (B, T) into at most B rows each.

    Also returns `MEMORY_IDS` and `MEMORY_CELLS`, which have as many rows as the decoder. Empty
    cells are 0 in every tensor.
    """
    ids = [tensors[name] for name in (EXAMPLE_IDS, DECODER_EXAMPLE_IDS)]
    rows, columns = len(ids[0]), [one.shape[1] for one in ids]
    most = max(int(one.max(initial=0)) for one in ids)
    every = np.stack([example_lengths(one, most) for one in ids])
    real = every.any(axis=0)
    row, lengths = np.repeat(np.arange(rows), most)[real], every[:, real]
    given = [
        _Layout.of(row, of_side, rows=rows, columns=count)
        for of_side, count in zip(lengths, columns, strict=True)
    ]
    limit = int(_MEMORY_LIMIT * columns[0])
    source_row = _fewer_rows(row, lengths[:1].T, (columns[0],))
    target_row = _fewer_rows(row, lengths[::-1].T, (columns[1], limit))
    needed = [int(found.max(initial=0)) + 1 for found in (source_row, target_row)]
    source_rows, target_rows = (_rounded(count, -(-rows // _ROW_STEPS), rows) for count in needed)
    beside = int(np.bincount(target_row, weights=lengths[0]).max(initial=1))
    source = _Layout.of(source_row, lengths[0], rows=source_rows, columns=columns[0])
    target = _Layout.of(target_row, lengths[1], rows=target_rows, columns=columns[1])
    memory = _Layout.of(
        target_row,
        lengths[0],
        rows=target_rows,
        columns=_rounded(beside, _COLUMN_STEP, limit),
    )
    cells = given[0].cells, given[1].cells
    moved = {
        name: source.grid(array.ravel()[cells[0]])
        if name in ENCODER_TENSORS
        else target.grid(array.ravel()[cells[1]])
        for name, array in tensors.items()
    }
    return {
        **moved,
        EXAMPLE_IDS: source.example_ids,
        DECODER_EXAMPLE_IDS: target.example_ids,
        MEMORY_IDS: memory.example_ids,
        MEMORY_CELLS: memory.grid(source.cells + 1),
    }


def _fewer_rows(row: I64, lengths: I64, limits: tuple[int, ...]) -> I64:
    """The row of each example (E) if packed within `limits`, or `row` if that needs as many rows.

    `lengths` (E, sides of the limits).
    """
    found = best_fit(lengths, limits)
    return found if found.max(initial=-1) < row.max(initial=-1) else row


def _rounded(count: int, step: int, most: int) -> int:
    """`count` rounded up to a multiple of `step`, but not above `most`."""
    return min(most, -(-count // step) * step)
