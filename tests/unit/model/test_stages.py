"""Pipeline stages: contiguous parts with matrices and vectors, the largest as small as possible."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptm.errors import UserError
from ptm.model.plain_model import parameter_count
from ptm.model.stages import Sizes, balanced_partition, operation_sizes, stage_bounds
from tests.support.small_models import block_of, mlm_of, plan_of

# Kinds of operations: layers with matrices and vectors, norms without matrices, matrices without
# biases, and dropout without parameters.
STEPS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=8)


def parts_of(sizes: list[Sizes], bounds: tuple[int, ...]) -> list[Sizes]:
    parts = [sizes[start:stop] for start, stop in pairwise(bounds)]
    return [(sum(m for m, _ in part), sum(v for _, v in part)) for part in parts]


def largest_first(sizes: list[Sizes], bounds: tuple[int, ...]) -> list[int]:
    return sorted((sum(part) for part in parts_of(sizes, bounds)), reverse=True)


def possible(sizes: list[Sizes], parts: int) -> list[tuple[int, ...]]:
    """All cuts into parts that have matrices and vectors."""
    cuts = combinations(range(1, len(sizes)), parts - 1)
    every = [(0, *cut, len(sizes)) for cut in cuts]
    return [bounds for bounds in every if all(m and v for m, v in parts_of(sizes, bounds))]


@given(sizes=STEPS, parts=st.integers(1, 5))
def test_the_largest_part_is_the_smallest_possible(sizes: list[Sizes], parts: int) -> None:
    bounds = balanced_partition(sizes, parts)
    others = possible(sizes, parts)
    if bounds is None:
        assert others == []
        return
    assert bounds in others
    best = min(largest_first(sizes, other) for other in others)
    # If several cuts have the same largest part, the next largest parts decide.
    assert largest_first(sizes, bounds) == best


@given(sizes=STEPS)
def test_a_single_part_is_the_whole_plan(sizes: list[Sizes]) -> None:
    whole = all(sum(kind) for kind in zip(*sizes, strict=True))
    assert balanced_partition(sizes, 1) == ((0, len(sizes)) if whole else None)


def test_equal_layers_are_distributed_evenly() -> None:
    assert balanced_partition([(8, 1)] * 6, 3) == (0, 2, 4, 6)


def test_every_part_needs_a_matrix() -> None:
    # By size alone, the large vector would be a part of its own.
    sizes = [(4, 1), (4, 1), (0, 10)]
    assert balanced_partition(sizes, 2) == (0, 1, 3)
    assert balanced_partition(sizes, 3) is None


def test_a_tied_matrix_counts_at_each_of_its_operations() -> None:
    plan = plan_of(block_of(layers=2))
    tied = [step.tie for step in plan.operations]
    assert sum(tie is not None for tie in tied) == 2
    sizes = operation_sizes(plan)
    first, last = (size for size, tie in zip(sizes, tied, strict=True) if tie is not None)
    assert first == last
    assert sum(map(sum, sizes)) == parameter_count(plan) + sum(first)
    untied = plan_of(block_of(layers=2), mlm_of(tied=False))
    assert sum(map(sum, operation_sizes(untied))) == parameter_count(untied)


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_every_stage_of_a_model_has_matrices_and_vectors(stages: int) -> None:
    plan = plan_of(block_of(layers=3))
    bounds = stage_bounds(plan, stages)
    assert (bounds[0], bounds[-1], len(bounds)) == (0, len(plan.operations), stages + 1)
    assert all(m and v for m, v in parts_of(list(operation_sizes(plan)), bounds))


@pytest.mark.parametrize("stages", [9, 100])
def test_too_many_stages_are_rejected_with_the_maximum(stages: int) -> None:
    plan = plan_of(block_of(layers=2))
    most = max(n for n in range(1, 9) if balanced_partition(operation_sizes(plan), n))
    with pytest.raises(UserError) as error:
        stage_bounds(plan, stages)
    assert str(error.value) == (
        f"engine.pipeline_stages = {stages}: this model can be split into at most {most} stages, "
        "because every stage needs at least one matrix and one bias or norm. "
        f"Set engine.pipeline_stages: {most} or less, or use a deeper model."
    )
    assert len(stage_bounds(plan, most)) == most + 1
