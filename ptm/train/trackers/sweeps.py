"""Trainings that `wandb agent` starts: each is a trial of a sweep, with a run of its own.

A sweep file has `command: [ptm, train, RECIPE, "${args_no_hyphens}"]`, so that the agent gives the
values of the trial as KEY=VALUE.
"""

from __future__ import annotations

import os

from ptm.recipe import Recipe


def trial_id() -> str | None:
    """The id that a sweep gives to this run; None without a sweep."""
    return os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None


def with_trial_name(recipe: Recipe) -> Recipe:
    """The recipe with the trial's id in its name, so that trials do not share a run folder."""
    trial = trial_id()
    if trial is None or recipe.name.endswith(f"-{trial}"):
        return recipe
    return recipe.model_copy(update={"name": f"{recipe.name}-{trial}"})
