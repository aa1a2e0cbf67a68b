"""Both sides of a micro-batch have every token of every example, in as few rows as they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ptm.data.packing import best_fit
from ptm.data.sides_apart import MEMORY_CELLS, MEMORY_IDS, pack_sides_apart
from tests.support.packed_pairs import SOURCE, TARGET, packed_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAIRS = st.lists(st.tuples(st.integers(1, SOURCE), st.integers(1, TARGET)), max_size=60)
LONG = [(SOURCE, 1)] * 3
"""Pairs of which one fills the encoder's row and hardly any of the decoder's."""


def texts(tensors: dict[str, NDArray[np.int64]], ids: str, *names: str) -> set[tuple[int, ...]]:
    """The entries of each example of all `names`, one after another."""
    found = set()
    for row, of_row in enumerate(tensors[ids]):
        for slot in range(1, int(of_row.max(initial=0)) + 1):
            cells = np.flatnonzero(of_row == slot)
            assert np.array_equal(cells, np.arange(cells[0], cells[0] + cells.size)), "contiguous"
            found.add(tuple(int(n) for name in names for n in tensors[name][row][cells]))
    return found


@given(pairs=PAIRS)
def test_each_side_has_all_examples_in_no_more_rows(pairs: list[tuple[int, int]]) -> None:
    before = packed_pairs(pairs)
    after = pack_sides_apart(before)
    for side in ("", "decoder_"):
        ids, names = f"{side}example_ids", (f"{side}input_ids", f"{side}position_ids")
        assert texts(after, ids, *names) == texts(before, ids, *names)
        assert 1 <= len(after[ids]) <= len(before[ids])
        assert np.array_equal(after[names[0]] > 0, after[ids] > 0), "empty cells are 0"
    assert texts(after, "decoder_example_ids", "target_ids") == texts(
        before, "decoder_example_ids", "target_ids"
    )


@given(pairs=PAIRS)
def test_the_memory_has_the_source_beside_its_target(pairs: list[tuple[int, int]]) -> None:
    after = pack_sides_apart(packed_pairs(pairs))
    ids, cells = after[MEMORY_IDS], after[MEMORY_CELLS]
    assert ids.shape == cells.shape
    assert len(ids) == len(after["decoder_example_ids"])
    assert ids.shape[1] <= 5 / 4 * SOURCE
    assert np.array_equal(cells > 0, ids > 0)
    read = np.append(0, after["input_ids"])[cells]
    beside = {
        (int(source), int(target))
        for row in range(len(ids))
        for slot in range(1, int(ids[row].max(initial=0)) + 1)
        for source in read[row][ids[row] == slot]
        for target in after["decoder_input_ids"][row][after["decoder_example_ids"][row] == slot]
    }
    # Tokens are 1 + the number of their example.
    assert beside == {(number + 1, number + 1) for number in range(len(pairs))}


def test_short_sources_need_fewer_rows_of_the_encoder() -> None:
    after = pack_sides_apart(packed_pairs([(SOURCE // 4, TARGET)] * 32))
    assert (len(after["example_ids"]), len(after["decoder_example_ids"])) == (8, 32)


def test_short_targets_need_fewer_rows_of_the_decoder() -> None:
    after = pack_sides_apart(packed_pairs([(SOURCE // 2 + 2, TARGET // 4)] * 32))
    assert (len(after["example_ids"]), len(after["decoder_example_ids"])) == (32, 16)


def test_a_micro_batch_without_examples_stays_empty() -> None:
    empty = {name: np.zeros_like(array) for name, array in packed_pairs(LONG).items()}
    assert not any(array.any() for array in pack_sides_apart(empty).values())


@given(pairs=PAIRS)
def test_best_fit_keeps_both_limits(pairs: list[tuple[int, int]]) -> None:
    lengths = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    rows = best_fit(lengths, (SOURCE, TARGET))
    for side, limit in enumerate((SOURCE, TARGET)):
        assert np.bincount(rows, weights=lengths[:, side]).max(initial=0) <= limit
    assert set(rows.tolist()) == set(range(int(rows.max(initial=-1)) + 1))


def test_best_fit_fills_the_row_with_the_least_space() -> None:
    lengths = np.array([[9], [7], [3], [1]], dtype=np.int64)
    assert best_fit(lengths, (10,)).tolist() == [0, 1, 1, 0]
