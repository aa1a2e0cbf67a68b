"""Cuts a plan into pipeline stages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod

from ptm.errors import UserError
from ptm.plan import Plan

Sizes = tuple[int, int]
"""Number of parameters in matrices, and in vectors (biases and norms)."""


def operation_sizes(plan: Plan) -> tuple[Sizes, ...]:
    """The number of parameters of each operation; tied modules count at each of theirs."""
    of_modules: dict[str, list[tuple[int, ...]]] = {step.key: [] for step in plan.operations}
    for name, shape in plan.parameter_shapes.items():
        of_modules[name.partition(".")[0]].append(shape)
    sizes = {
        key: (
            sum(prod(shape) for shape in shapes if len(shape) > 1),
            sum(prod(shape) for shape in shapes if len(shape) <= 1),
        )
        for key, shapes in of_modules.items()
    }
    return tuple(sizes[step.key] for step in plan.operations)


def stage_bounds(plan: Plan, stages: int) -> tuple[int, ...]:
    """Cut the plan into pipeline stages of balanced size.

    Returns `stages + 1` bounds; stage i runs the operations `steps[bounds[i]:bounds[i + 1]]`.
    The largest stage is as small as possible, and every stage has matrices and vectors, so that no
    stage computes next to nothing. Raises UserError if the plan cannot be cut into that many
    stages.
    """
    sizes = operation_sizes(plan)
    bounds = balanced_partition(sizes, stages)
    if bounds is None:
        most = next(
            n for n in range(min(stages, len(sizes)), 0, -1) if balanced_partition(sizes, n)
        )
        raise UserError(
            f"engine.pipeline_stages = {stages}: this model can be split into at most {most} "
            "stages, because every stage needs at least one matrix and one bias or norm. Set "
            f"engine.pipeline_stages: {most} or less, or use a deeper model."
        )
    return bounds


def balanced_partition(sizes: Sequence[Sizes], parts: int) -> tuple[int, ...] | None:
    """Cut `sizes` into contiguous parts that each have matrices and vectors, as evenly as possible.

    The largest part is as small as possible; on a tie, the next largest parts decide. Returns the
    `parts + 1` bounds, or None if there is no such cut.
    """
    # before[i]: parameters of matrices and of vectors in the first i operations.
    before = [(0, 0)]
    for matrices, vectors in sizes:
        before.append((before[-1][0] + matrices, before[-1][1] + vectors))

    def total(start: int, stop: int) -> int:
        """The size of a part, 0 if it lacks matrices or vectors."""
        matrices, vectors = (
            last - first for first, last in zip(before[start], before[stop], strict=True)
        )
        return matrices + vectors if matrices and vectors else 0

    @cache
    def best(start: int, left: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """The best cut of `sizes[start:]` into `left` parts: sizes, largest first, and ends."""
        if left == 1:
            rest = total(start, len(sizes))
            return ((rest,), (len(sizes),)) if rest else None
        found = []
        for stop in range(start + 1, len(sizes) - left + 2):
            mine, others = total(start, stop), best(stop, left - 1)
            if mine and others is not None:
                found.append((tuple(sorted((mine, *others[0]), reverse=True)), (stop, *others[1])))
        return min(found, default=None)

    chosen = best(0, parts)
    return None if chosen is None else (0, *chosen[1])
