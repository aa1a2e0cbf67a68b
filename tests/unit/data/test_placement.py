from __future__ import annotations

import numpy as np

from ptm.data.packing import PackedRows, RowSize
from ptm.data.placement import Placement, place

# Row 0 holds examples 2 and 0, row 1 holds example 1.
ROWS = PackedRows(np.array([2, 0, 1]), np.array([2, 3]))
LENGTHS = np.array([2, 4, 3])


def placed(*rows: int) -> Placement:
    epochs = np.arange(len(rows), dtype=np.int64) + 10
    return place(ROWS, np.array(rows), epochs, lengths=LENGTHS[:, None], size=RowSize(6, 6))


def test_examples_follow_one_another_in_their_row() -> None:
    placement = placed(0, 1)
    letters = np.array([20, 21, 22, 0, 1, 10, 11, 12, 13])
    assert placement.to_grid(letters, fill=-1).tolist() == [
        [20, 21, 22, 0, 1, -1],
        [10, 11, 12, 13, -1, -1],
    ]


def test_positions_restart_at_every_example() -> None:
    assert placed(0).positions.tolist() == [0, 1, 2, 0, 1]


def test_examples_are_numbered_from_one_in_every_row() -> None:
    assert placed(0, 1, 0).slot.tolist() == [1, 2, 1, 1, 2]


def test_an_example_has_the_epoch_of_its_row() -> None:
    assert placed(1, 0).epoch.tolist() == [10, 11, 11]


def test_a_row_may_occur_twice() -> None:
    placement = placed(1, 1)
    assert placement.example.tolist() == [1, 1]
    assert placement.cells.tolist() == [0, 1, 2, 3, 6, 7, 8, 9]
