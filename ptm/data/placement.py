"""Where examples stand in the rows of a micro-batch, and tensors of that shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum, ragged_arange, ragged_ranges
from ptm.data.packing import Rows, RowSize

DECODER = "decoder_"
"""What the names of a decoder's side begin with."""
DECODER_SIDE = {
    name: f"{DECODER}{name}" for name in ("input_ids", "position_ids", "segment_ids", "example_ids")
}
"""What the tensors of a row are called on the decoder's side."""


@dataclass(frozen=True)
class Placement:
    """Examples laid out in `rows` rows of `columns` tokens, row after row.

    `example`, `row`, `number`, `lengths`, `epoch` (E): the example's index, its row, its place
    among the examples of the row (from 1), its tokens, and the epoch it is drawn in.
    """

    example: I64
    row: I64
    number: I64
    lengths: I64
    epoch: I64
    rows: int
    columns: int
    target_columns: int = 0
    """Of the rows of a decoder's side."""

    def side(self, lengths: I64, columns: int) -> Placement:
        """The same examples in the same rows, where they have `lengths` (E) tokens."""
        return replace(self, lengths=lengths, columns=columns)

    @cached_property
    def cells(self) -> I64:
        """For every token of every example, its index in the flattened rows x columns."""
        before = exclusive_cumsum(self.lengths)
        first_of_row = np.searchsorted(self.row, self.row, side="left")
        column = before - before[first_of_row]
        return ragged_ranges(self.row * self.columns + column, self.lengths)

    @property
    def positions(self) -> I64:
        """For every token, its position within its example."""
        return ragged_arange(self.lengths)

    @property
    def first_cells(self) -> I64:
        """For every example, the index of its first token in the flattened rows x columns."""
        return np.asarray(self.cells[exclusive_cumsum(self.lengths)])

    @staticmethod
    def joined(several: Sequence[Placement]) -> Placement:
        """The rows of `several`, one after another."""
        if len(several) == 1:
            return several[0]
        before = np.cumsum([part.rows for part in several]) - [part.rows for part in several]
        moved = [
            replace(part, row=part.row + first) for part, first in zip(several, before, strict=True)
        ]
        return Placement(
            example=np.concatenate([part.example for part in moved]),
            row=np.concatenate([part.row for part in moved]),
            number=np.concatenate([part.number for part in moved]),
            lengths=np.concatenate([part.lengths for part in moved]),
            epoch=np.concatenate([part.epoch for part in moved]),
            rows=sum(part.rows for part in moved),
            columns=several[0].columns,
            target_columns=several[0].target_columns,
        )

    def grid(self, values: NDArray[np.int64], *, fill: int) -> NDArray[np.int64]:
        """`values` (one a token) as rows x columns, `fill` where there is no token."""
        cells = np.full(self.rows * self.columns, fill, dtype=np.int64)
        cells[self.cells] = values
        return cells.reshape(self.rows, self.columns)


def place(rows: Rows, chosen: I64, epochs: I64, *, lengths: I64, size: RowSize) -> Placement:
    """Lay out the rows `chosen` (R), each drawn in its epoch (R); `lengths` (E, sides)."""
    examples, counts = rows.members(chosen)
    row = np.repeat(np.arange(chosen.size), counts)
    number = ragged_arange(counts) + 1
    return Placement(
        example=examples,
        row=row,
        number=number,
        lengths=np.asarray(lengths[examples, 0]),
        epoch=np.repeat(epochs, counts),
        rows=chosen.size,
        columns=size.source,
        target_columns=size.target,
    )


def row_tensors(
    ids: I64, placement: Placement, *, pad: int, segments: I64 | None = None, side: str = ""
) -> dict[str, NDArray[np.int64]]:
    """Token ids (N) and their segments (N; 1 if left out) as tensors (B, T) under their names.

    Padding is `pad`, at position, segment and example 0; examples count from 1.
    """
    if segments is None:
        segments = np.ones_like(ids)
    number = np.repeat(placement.number, placement.lengths)
    return {
        f"{side}input_ids": placement.grid(ids, fill=pad),
        f"{side}position_ids": placement.grid(placement.positions, fill=0),
        f"{side}segment_ids": placement.grid(segments, fill=0),
        f"{side}example_ids": placement.grid(number, fill=0),
    }
