"""Layout of examples in the rows of a micro-batch, and tensors in that layout.

Shapes: E examples, N tokens, B rows, T columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum, ragged_arange, ragged_ranges
from ptm.data.packing import PackedRows, RowSize

DECODER = "decoder_"
"""Prefix of the names of a decoder's tensors."""
DECODER_SIDE = {
    name: f"{DECODER}{name}" for name in ("input_ids", "position_ids", "segment_ids", "example_ids")
}
"""Names of the row tensors -> their names on the decoder's side."""
ENCODER_TENSORS = frozenset(DECODER_SIDE)
"""Names of the tensors of an encoder's rows, beside those of a decoder."""
EXAMPLE_IDS = "example_ids"
DECODER_EXAMPLE_IDS = DECODER_SIDE[EXAMPLE_IDS]


@dataclass(frozen=True)
class Placement:
    """E examples laid out in `rows` (B) rows of `columns` (T) tokens, row after row.

    Arrays (E): `example`: index of the example. `row`: its row. `number`: its slot in the row,
    from 1. `lengths`: its tokens. `epoch`: the epoch of its random draws.
    """

    example: I64
    row: I64
    slot: I64
    lengths: I64
    epoch: I64
    rows: int
    columns: int
    target_columns: int = 0
    """Columns of the decoder's rows."""

    def side(self, lengths: I64, columns: int) -> Placement:
        """Return the layout with other `lengths` (E) and `columns`: that of the decoder's side."""
        return replace(self, lengths=lengths, columns=columns)

    @cached_property
    def cells(self) -> I64:
        """Index of each token in the flattened (B, T) grid (N)."""
        before = exclusive_cumsum(self.lengths)
        first_of_row = np.searchsorted(self.row, self.row, side="left")
        column = before - before[first_of_row]
        return ragged_ranges(self.row * self.columns + column, self.lengths)

    @property
    def positions(self) -> I64:
        """Position of each token within its example (N)."""
        return ragged_arange(self.lengths)

    @property
    def first_cells(self) -> I64:
        """Index of each example's first token in the flattened (B, T) grid (E)."""
        return np.asarray(self.cells[exclusive_cumsum(self.lengths)])

    @staticmethod
    def joined(several: Sequence[Placement]) -> Placement:
        """Concatenate the rows of several placements."""
        if len(several) == 1:
            return several[0]
        before = np.cumsum([part.rows for part in several]) - [part.rows for part in several]
        moved = [
            replace(part, row=part.row + first) for part, first in zip(several, before, strict=True)
        ]
        return Placement(
            example=np.concatenate([part.example for part in moved]),
            row=np.concatenate([part.row for part in moved]),
            slot=np.concatenate([part.slot for part in moved]),
            lengths=np.concatenate([part.lengths for part in moved]),
            epoch=np.concatenate([part.epoch for part in moved]),
            rows=sum(part.rows for part in moved),
            columns=several[0].columns,
            target_columns=several[0].target_columns,
        )

    def to_grid(self, values: NDArray[np.int64], *, fill: int) -> NDArray[np.int64]:
        """Lay out `values` (N) as (B, T), with `fill` in cells without a token."""
        cells = np.full(self.rows * self.columns, fill, dtype=np.int64)
        cells[self.cells] = values
        return cells.reshape(self.rows, self.columns)


def place(rows: PackedRows, chosen: I64, epochs: I64, *, lengths: I64, size: RowSize) -> Placement:
    """Lay out the rows `chosen` (B) with their `epochs` (B).

    `lengths` (all examples, sides): tokens of each example; side 0 is the source.
    """
    examples, counts = rows.members(chosen)
    row = np.repeat(np.arange(chosen.size), counts)
    number = ragged_arange(counts) + 1
    return Placement(
        example=examples,
        row=row,
        slot=number,
        lengths=np.asarray(lengths[examples, 0]),
        epoch=np.repeat(epochs, counts),
        rows=chosen.size,
        columns=size.source,
        target_columns=size.target,
    )


def row_tensors(
    ids: I64, placement: Placement, *, pad: int, segments: I64 | None = None, side: str = ""
) -> dict[str, NDArray[np.int64]]:
    """Return input, position, segment and example ids (B, T each) by tensor name.

    `ids` (N): token ids. `segments` (N): segment ids, 1 by default. Padding cells have token id
    `pad` and position, segment and example 0; example ids count from 1 in each row. `side`: prefix
    of the names.
    """
    if segments is None:
        segments = np.ones_like(ids)
    number = np.repeat(placement.slot, placement.lengths)
    return {
        f"{side}input_ids": placement.to_grid(ids, fill=pad),
        f"{side}position_ids": placement.to_grid(placement.positions, fill=0),
        f"{side}segment_ids": placement.to_grid(segments, fill=0),
        f"{side}example_ids": placement.to_grid(number, fill=0),
    }


def example_lengths(example_ids: NDArray[np.int64], most: int) -> I64:
    """Return the number of cells with each id from 1 to `most` = K of each row: (B, T) -> (B K)."""
    rows = len(example_ids)
    first = np.arange(rows, dtype=np.int64)[:, None] * (most + 1)
    counts = np.bincount((example_ids + first).ravel(), minlength=rows * (most + 1))
    found: I64 = counts.reshape(rows, most + 1)[:, 1:].reshape(-1)
    return found
