from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptm.data.examples import chunk_documents
from ptm.data.packing import PackedRows, RowSize, one_per_row, pack, pack_sides

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptm.store.reader import TokenStore

CAPACITY = 16
LENGTHS = st.lists(st.integers(1, CAPACITY), max_size=80).map(
    lambda lengths: np.array(lengths, dtype=np.int64)
)


def row_totals(rows: PackedRows, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    ends = np.cumsum(lengths[rows.examples])[rows.ends - 1]
    return np.diff(ends, prepend=0)


@given(lengths=LENGTHS)
def test_every_example_is_packed_exactly_once(lengths: NDArray[np.int64]) -> None:
    rows = pack(lengths, CAPACITY)
    assert sorted(rows.examples.tolist()) == list(range(lengths.size))
    assert (rows.ends[-1] if len(rows) else 0) == lengths.size


@given(lengths=LENGTHS)
def test_no_row_holds_more_than_its_capacity(lengths: NDArray[np.int64]) -> None:
    rows = pack(lengths, CAPACITY)
    assert (row_totals(rows, lengths) <= CAPACITY).all()


@given(lengths=LENGTHS)
def test_no_row_is_empty(lengths: NDArray[np.int64]) -> None:
    rows = pack(lengths, CAPACITY)
    assert (np.diff(rows.ends, prepend=0) > 0).all()


@given(lengths=LENGTHS)
def test_no_two_rows_would_fit_into_one(lengths: NDArray[np.int64]) -> None:
    # Best fit opens a row only if no open row has room.
    totals = np.sort(row_totals(pack(lengths, CAPACITY), lengths))
    assert totals.size < 2 or totals[0] + totals[1] > CAPACITY


@given(lengths=LENGTHS)
def test_members_are_the_examples_of_the_given_rows(lengths: NDArray[np.int64]) -> None:
    rows = pack(lengths, CAPACITY)
    backwards = np.arange(len(rows), dtype=np.int64)[::-1]
    examples, counts = rows.members(backwards)
    parts = np.split(rows.examples, rows.ends[:-1]) if len(rows) else []
    assert examples.tolist() == [example for part in parts[::-1] for example in part.tolist()]
    assert counts.tolist() == [len(part) for part in parts[::-1]]


def test_real_documents_fill_rows_of_128_tokens_to_99_percent(real_store: TokenStore) -> None:
    lengths = chunk_documents(*real_store.document_ranges, 126).lengths + 2
    rows = pack(lengths, 128)
    assert lengths.sum() / (len(rows) * 128) >= 0.99


def test_packing_is_deterministic(real_store: TokenStore) -> None:
    lengths = chunk_documents(*real_store.document_ranges, 126).lengths + 2
    first, second = pack(lengths, 128), pack(lengths.copy(), 128)
    assert (first.examples == second.examples).all()
    assert (first.ends == second.ends).all()


def test_an_example_longer_than_a_row_is_an_internal_error() -> None:
    with pytest.raises(AssertionError, match="longer than a row"):
        pack(np.array([CAPACITY + 1]), CAPACITY)


def test_without_packing_every_example_is_a_row() -> None:
    examples, counts = one_per_row(3).members(np.array([2, 0]))
    assert (examples.tolist(), counts.tolist()) == ([2, 0], [1, 1])


def test_examples_that_share_a_row_fit_on_both_sides() -> None:
    dice = np.random.default_rng(0)
    source = dice.integers(5, 90, 500)
    lengths = np.stack([source, (source * dice.uniform(0.3, 0.45, 500)).astype(int)], axis=1)
    rows = pack_sides(lengths, RowSize(96, 40))
    examples, counts = rows.members(np.arange(len(rows)))
    assert sorted(examples.tolist()) == list(range(500))
    filled = np.add.reduceat(lengths[examples], np.cumsum(counts) - counts, axis=0)
    assert (filled <= [96, 40]).all()
    assert filled.sum() > 0.85 * len(rows) * (96 + 40), "both sides are used"
