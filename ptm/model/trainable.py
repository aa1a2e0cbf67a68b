"""Which parameters learn, and at what share of the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from ptm.errors import UserError, nearest
from ptm.plan import Plan


def frozen_parameters(plan: Plan, patterns: Sequence[str]) -> frozenset[str]:
    """Canonical names that one of `patterns` (`encoder_0[0-5]*`) matches: they keep their value.

    Raises UserError for a pattern that matches nothing, and where nothing is left to learn.
    """
    names = plan.parameter_shapes.keys()
    frozen: set[str] = set()
    for index, pattern in enumerate(patterns):
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            known = names if "." in pattern else {step.key for step in plan.steps}
            raise UserError(
                f'train.freeze.{index}: "{pattern}" matches no parameter of this model.'
                f"{nearest(pattern, known)} A pattern is for whole names: "
                '"encoder_00*" is all of the first layer.'
            )
        frozen.update(matched)
    if len(frozen) == len(names):
        raise UserError(
            f"train.freeze = {list(patterns)} matches all {len(names)} parameters: leave some to "
            "learn."
        )
    return frozenset(frozen)


def rate_factors(plan: Plan, decay: float) -> dict[str, float]:
    """What the learning rate of every parameter is multiplied by, by canonical name.

    Discriminative rates (Howard and Ruder 2018, section 3.1; Clark et al. 2020, appendix B): with
    L repeated blocks, counted from 0, block k learns at decay^(L - 1 - k), what stands before the
    first at decay^L, and what follows the last, the head, at 1, as the last block does. A module
    that several steps share goes by the first of them: a tied output matrix is an embedding,
    layers that share their weights are one block.
    """
    begun: dict[str, int] = {}
    blocks = 0
    for step in plan.steps:
        if step.key not in begun:
            blocks += step.block
            begun[step.key] = blocks
    return {
        name: decay ** (blocks - begun[name.partition(".")[0]]) for name in plan.parameter_shapes
    }
