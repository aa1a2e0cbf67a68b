from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptm.errors import UserError
from ptm.recipe import batch_plan

SIZES = st.integers(1, 512)
RANKS = st.integers(1, 64)


@given(rows_per_rank=SIZES, micro=SIZES, ranks=RANKS)
def test_ranks_times_accumulation_times_micro_batch_is_the_global_batch(
    rows_per_rank: int, micro: int, ranks: int
) -> None:
    plan = batch_plan(
        global_batch_size=rows_per_rank * ranks, max_micro_batch_size=micro, ranks=ranks
    )
    assert plan.ranks * plan.accumulation * plan.micro_batch_size == rows_per_rank * ranks
    assert plan.ranks == ranks


@given(rows_per_rank=SIZES, micro=SIZES, ranks=RANKS)
def test_a_micro_batch_is_at_most_the_recipe_s_micro_batch_size(
    rows_per_rank: int, micro: int, ranks: int
) -> None:
    plan = batch_plan(
        global_batch_size=rows_per_rank * ranks, max_micro_batch_size=micro, ranks=ranks
    )
    assert plan.micro_batch_size <= micro


@given(rows_per_rank=SIZES, micro=SIZES, ranks=RANKS)
def test_the_accumulation_is_the_smallest_possible(
    rows_per_rank: int, micro: int, ranks: int
) -> None:
    plan = batch_plan(
        global_batch_size=rows_per_rank * ranks, max_micro_batch_size=micro, ranks=ranks
    )
    for fewer in range(1, plan.accumulation):
        assert rows_per_rank % fewer or rows_per_rank // fewer > micro


def test_a_prime_number_of_rows_is_accumulated_row_by_row() -> None:
    plan = batch_plan(global_batch_size=31, max_micro_batch_size=8, ranks=1)
    assert (plan.accumulation, plan.micro_batch_size) == (31, 1)


def test_a_global_batch_that_does_not_divide_over_the_ranks_is_rejected_with_the_equation() -> None:
    with pytest.raises(UserError, match=re.escape("10 / 4 = 2.500 rows per rank")):
        batch_plan(global_batch_size=10, max_micro_batch_size=8, ranks=4)


@given(rows=SIZES, ranks=st.integers(2, 64))
def test_every_suggested_fix_works(rows: int, ranks: int) -> None:
    if rows % ranks == 0:
        batch_plan(global_batch_size=rows, max_micro_batch_size=8, ranks=ranks)
        return
    with pytest.raises(UserError) as caught:
        batch_plan(global_batch_size=rows, max_micro_batch_size=8, ranks=ranks)
    suggested = re.search(
        r"Set it to (?:(\d+) or )?(\d+), or start (\d+) ranks?", str(caught.value)
    )
    assert suggested is not None
    for size in filter(None, suggested.groups()[:2]):
        batch_plan(global_batch_size=int(size), max_micro_batch_size=8, ranks=ranks)
    batch_plan(global_batch_size=rows, max_micro_batch_size=8, ranks=int(suggested[3]))
