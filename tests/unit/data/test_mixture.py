"""The order of a mixture: realised shares, and rows that depend on their position alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptm.data.mixture import Mixture, rows_per_block, shares_of

positive = st.floats(1e-2, 1e2)
several_weights = st.lists(positive, min_size=1, max_size=6)


def next_by_due_time(weights: list[int], rows: int) -> list[int]:
    """A second implementation: always the source whose next row is due first, in whole numbers."""
    given_rows = [0] * len(weights)
    every = math.lcm(*weights)
    found = []
    for _ in range(rows):
        due = [(2 * n + 1) * (every // w) for n, w in zip(given_rows, weights, strict=True)]
        source = due.index(min(due))
        given_rows[source] += 1
        found.append(source)
    return found


@given(weights=several_weights)
def test_shares_are_within_one_per_cent_after_2000_rows(weights: list[float]) -> None:
    sources, _ = Mixture(weights).locate(np.arange(2000))
    found = np.bincount(sources, minlength=len(weights)) / 2000
    assert np.abs(found - np.array(weights) / sum(weights)).max() < 0.01


@given(weights=several_weights, first=st.integers(0, 10**12), rows=st.integers(1, 500))
def test_every_stretch_of_rows_has_the_shares(weights: list[float], first: int, rows: int) -> None:
    sources, _ = Mixture(weights).locate(np.arange(first, first + rows))
    found = np.bincount(sources, minlength=len(weights))
    shares = np.array(rows_per_block(weights)) / sum(rows_per_block(weights))
    # Twice the bound of the module, as the stretch has two ends.
    assert (np.abs(found - shares * rows) <= 1 + len(weights) * shares + 1e-6).all()


@given(weights=several_weights)
def test_the_order_is_that_of_due_times(weights: list[float]) -> None:
    sources, _ = Mixture(weights).locate(np.arange(300))
    assert sources.tolist() == next_by_due_time(list(rows_per_block(weights)), 300)


@given(
    weights=several_weights,
    first=st.integers(0, 10**12),
    cuts=st.lists(st.integers(1, 50), min_size=1, max_size=6),
)
def test_a_row_depends_on_its_position_alone(
    weights: list[float], first: int, cuts: list[int]
) -> None:
    mixture = Mixture(weights)
    whole = mixture.locate(np.arange(first, first + sum(cuts)))
    ends = first + np.cumsum(cuts)
    parts = [
        # Another object for each part, as after a resume.
        Mixture(weights).locate(np.arange(end - size, end))
        for end, size in zip(ends, cuts, strict=True)
    ]
    for at, array in enumerate(whole):
        assert np.array_equal(array, np.concatenate([part[at] for part in parts]))


@given(weights=several_weights, first=st.integers(0, 10**9))
def test_each_source_is_read_row_by_row(weights: list[float], first: int) -> None:
    mixture = Mixture(weights)
    sources, within = mixture.locate(np.arange(first, first + 400))
    before, after = mixture.rows_before(first), mixture.rows_before(first + 400)
    assert sum(before) == first
    for source, (begin, end) in enumerate(zip(before, after, strict=True)):
        assert within[sources == source].tolist() == list(range(begin, end))


@given(weights=several_weights, rows=st.integers(1, 10**6), data=st.data())
def test_a_length_is_that_of_the_rows_up_to_the_last_one_of_a_source(
    weights: list[float], rows: int, data: st.DataObject
) -> None:
    mixture, source = Mixture(weights), data.draw(st.integers(0, len(weights) - 1))
    length = mixture.length_of(source, rows)
    assert mixture.rows_before(length)[source] == rows
    assert mixture.rows_before(length - 1)[source] == rows - 1


def test_one_source_has_every_row() -> None:
    sources, within = Mixture([0.2]).locate(np.array([0, 1, 5, 10**15]))
    assert sources.tolist() == [0, 0, 0, 0]
    assert within.tolist() == [0, 1, 5, 10**15]


@pytest.mark.parametrize(
    ("weights", "rows"),
    [
        ([0.7, 0.3], (7, 3)),
        ([2.0, 1.0], (2, 1)),
        ([1e300, 1e300, 2e300], (1, 1, 2)),
        ([0.1234, 0.8766], (617, 4383)),
        ([1.0, 1e-9], (1, 0)),
    ],
)
def test_usual_shares_are_exact(weights: list[float], rows: tuple[int, ...]) -> None:
    assert rows_per_block(weights) == rows


def test_shares_add_up_to_one() -> None:
    assert shares_of([3.0, 1.0]) == (0.75, 0.25)
    assert math.fsum(shares_of([1e308] * 7)) == pytest.approx(1, abs=1e-12)
