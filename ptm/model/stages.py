"""Where a plan is cut into pipeline stages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from itertools import pairwise
from math import prod

from ptm.errors import UserError
from ptm.plan import Plan

Sizes = tuple[int, int]
"""Parameters of matrices, and of vectors."""


def step_sizes(plan: Plan, *, without: Collection[str] = ()) -> tuple[Sizes, ...]:
    """Parameters that each step needs at hand, those of a tied module at every one of its steps.

    `without`: canonical names of those that do not count.
    """
    of_modules: dict[str, list[tuple[int, ...]]] = {step.key: [] for step in plan.steps}
    for name, shape in plan.parameter_shapes.items():
        if name not in without:
            of_modules[name.partition(".")[0]].append(shape)
    sizes = {
        key: (
            sum(prod(shape) for shape in shapes if len(shape) > 1),
            sum(prod(shape) for shape in shapes if len(shape) <= 1),
        )
        for key, shapes in of_modules.items()
    }
    return tuple(sizes[step.key] for step in plan.steps)


def stage_bounds(plan: Plan, stages: int, *, frozen: Collection[str] = ()) -> tuple[int, ...]:
    """`stages + 1` indices: stage i runs the steps from the i-th to before the next.

    The largest stage has as few parameters as can be, and every one has matrices and vectors:
    DeepSpeed adds up the norm of the gradients group by group of the optimizer, so a stage without
    one of the groups would leave the others waiting. Raises UserError where there are too many,
    and where all of a kind is `frozen` in one of them.
    """
    sizes = step_sizes(plan)
    bounds = balanced(sizes, stages)
    if bounds is None:
        most = next(n for n in range(min(stages, len(sizes)), 0, -1) if balanced(sizes, n))
        raise UserError(
            f"engine.pipeline_stages = {stages}: this model can be cut into {most} stages at most, "
            "so that each has matrices and biases or norms of its own."
        )
    if frozen:
        _refuse_frozen_stage(plan, bounds, step_sizes(plan, without=frozen))
    return bounds


def _refuse_frozen_stage(plan: Plan, bounds: Sequence[int], learning: Sequence[Sizes]) -> None:
    for stage, (first, after) in enumerate(pairwise(bounds)):
        if not all(sum(kind) for kind in zip(*learning[first:after], strict=True)):
            raise UserError(
                f"train.freeze leaves stage {stage} of the pipeline ({plan.steps[first].name} to "
                f"{plan.steps[after - 1].name}) without a matrix or without a bias or norm that "
                "learns, and DeepSpeed's stages would wait for its gradients: freeze less, or set "
                "engine.pipeline_stages: 1."
            )


def balanced(sizes: Sequence[Sizes], parts: int) -> tuple[int, ...] | None:
    """Cut `sizes` into contiguous parts, each with some of both kinds, the largest as small as can.

    Where several cuts are as good, the next largest parts decide. None where there is no cut.
    """
    before = [(0, 0)]
    for matrices, vectors in sizes:
        before.append((before[-1][0] + matrices, before[-1][1] + vectors))

    def total(start: int, stop: int) -> int:
        """The size of a part, 0 where it lacks one of the kinds."""
        matrices, vectors = (
            last - first for first, last in zip(before[start], before[stop], strict=True)
        )
        return matrices + vectors if matrices and vectors else 0

    @cache
    def best(start: int, left: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """(sizes, the largest first; cuts) of the parts from `start` on."""
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
