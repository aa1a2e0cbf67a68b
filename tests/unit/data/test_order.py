from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptm.data.order import permute, rows_at, rows_between

SIZES = [*range(1, 70), 127, 128, 129, 255, 256, 257, 1000, 4095, 4096, 4097, 65537]


@pytest.mark.parametrize("epoch", [0, 1])
def test_every_row_occurs_exactly_once_per_epoch(epoch: int) -> None:
    for rows in SIZES:
        order = permute(np.arange(rows), rows, seed=7, epoch=epoch)
        assert np.array_equal(np.sort(order), np.arange(rows)), rows


@given(rows=st.integers(1, 2**40), data=st.data())
def test_permuted_rows_are_in_range_and_distinct(rows: int, data: st.DataObject) -> None:
    some = st.integers(0, rows - 1)
    positions = np.array(data.draw(st.lists(some, min_size=1, max_size=20, unique=True)))
    order = permute(positions, rows, seed=7, epoch=3)
    assert ((order >= 0) & (order < rows)).all()
    assert len(set(order.tolist())) == positions.size


def test_the_row_at_a_position_does_not_depend_on_the_other_positions() -> None:
    whole = permute(np.arange(1000), 1000, seed=7, epoch=0)
    some = np.array([999, 0, 500])
    assert (permute(some, 1000, seed=7, epoch=0) == whole[some]).all()


@pytest.mark.parametrize(("seed", "epoch"), [(8, 0), (7, 1)])
def test_another_seed_or_epoch_gives_another_order(seed: int, epoch: int) -> None:
    rows = np.arange(1000)
    same = permute(rows, 1000, seed=7, epoch=0) == permute(rows, 1000, seed=seed, epoch=epoch)
    # By chance, about one row of a thousand keeps its place.
    assert same.sum() < 10


def test_the_order_has_no_correlation_with_the_row_number() -> None:
    rows = 10_000
    order = permute(np.arange(rows), rows, seed=7, epoch=0)
    assert abs(np.corrcoef(np.arange(rows), order)[0, 1]) < 0.05
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.05
    assert (np.abs(np.diff(order)) == 1).mean() < 0.01


def test_epochs_follow_one_another_without_gaps() -> None:
    epochs, rows = rows_at(np.arange(25), 10, seed=7)
    assert epochs.tolist() == [0] * 10 + [1] * 10 + [2] * 5
    assert sorted(rows[:10].tolist()) == sorted(rows[10:20].tolist()) == list(range(10))
    assert rows[:10].tolist() != rows[10:20].tolist()


def test_a_large_position_is_located_without_the_earlier_ones() -> None:
    far = 10**12
    epochs, rows = rows_at(np.array([far]), 1000, seed=7)
    assert epochs.tolist() == [far // 1000]
    assert rows.tolist() == permute(np.array([0]), 1000, seed=7, epoch=far // 1000).tolist()


# Epochs of different lengths


def test_epochs_of_different_lengths_follow_one_another_without_gaps() -> None:
    epochs, rows = rows_between(np.arange(24), np.array([10, 13, 25]), seed=7)
    assert epochs.tolist() == [0] * 10 + [1] * 3 + [2] * 11
    assert sorted(rows[:10].tolist()) == list(range(10))
    assert sorted(rows[10:13].tolist()) == list(range(3))
    assert set(rows[13:].tolist()) < set(range(12))


def test_rows_between_equals_rows_at_for_epochs_of_one_length() -> None:
    positions = np.arange(5, 38)
    found = rows_between(positions, np.array([10, 20, 30, 40]), seed=7)
    assert np.array_equal(found, rows_at(positions, 10, seed=7))
