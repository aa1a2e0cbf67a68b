"""Where a plan is cut into pipeline stages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from ptm.errors import UserError
from ptm.model.build import meta_model
from ptm.plan import Plan


def step_sizes(plan: Plan) -> tuple[int, ...]:
    """Parameters that each step needs at hand, those of a tied module at every one of its steps."""
    model = meta_model(plan)
    return tuple(
        sum(parameter.numel() for parameter in model.get_submodule(step.key).parameters())
        for step in plan.steps
    )


def stage_bounds(plan: Plan, stages: int) -> tuple[int, ...]:
    """`stages + 1` indices: stage i runs the steps from the i-th to before the next.

    The largest stage has as few parameters as can be, and none is without any. Raises UserError
    where the plan has fewer steps with parameters than there are to be stages.
    """
    sizes = step_sizes(plan)
    bounds = balanced(sizes, stages)
    if bounds is None:
        most = sum(size > 0 for size in sizes)
        raise UserError(
            f"engine.pipeline_stages = {stages}: this model has only {most} steps with parameters, "
            f"and every stage needs one: set at most {most}."
        )
    return bounds


def balanced(sizes: Sequence[int], parts: int) -> tuple[int, ...] | None:
    """Cut `sizes` into contiguous non-empty parts whose largest sum is the least possible.

    Where several cuts are as good, the next largest sums decide. None where a part would sum to 0.
    """
    before = [0]
    for size in sizes:
        before.append(before[-1] + size)

    @cache
    def best(start: int, left: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """(sums, the largest first; cuts) of the parts from `start` on."""
        if left == 1:
            total = before[-1] - before[start]
            return ((total,), (len(sizes),)) if total else None
        found = []
        for stop in range(start + 1, len(sizes) - left + 2):
            total, rest = before[stop] - before[start], best(stop, left - 1)
            if total and rest is not None:
                found.append((tuple(sorted((total, *rest[0]), reverse=True)), (stop, *rest[1])))
        return min(found, default=None)

    chosen = best(0, parts)
    return None if chosen is None else (0, *chosen[1])
