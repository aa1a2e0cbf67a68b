"""What a training does about a step that is not like the others: `train.anomalies`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from ptm.engines.base import StepResult
from ptm.errors import TrainingError
from ptm.recipe import Recipe
from ptm.train.anomalies import EVENTS, Watch, write_event
from ptm.train.checkpoints.saver import Checkpoints
from ptm.train.run_folder import RunFolder

logger = logging.getLogger(__name__)


class AnomalyPolicy:
    """Watches every step; tells what it finds, and skips it, goes back, or ends the training."""

    def __init__(
        self, recipe: Recipe, folder: RunFolder, checkpoints: Checkpoints, *, first: bool
    ) -> None:
        """`first`: whether this rank writes down what was found."""
        self._rule = recipe.train.anomalies
        self._fp16 = recipe.engine.precision == "fp16"
        self._run = folder.path
        self._checkpoints = checkpoints
        self._first = first
        self._watch = Watch(self._rule)

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on with what a checkpoint kept."""
        self._watch = Watch(self._rule, state)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return self._watch.state()

    @property
    def loss_limit(self) -> float:
        """A loss above this is a spike that is to be skipped before it changes anything."""
        return self._watch.loss_limit

    def wants_rollback(
        self, result: StepResult, *, step: int, rows: Callable[[], Mapping[str, Any]]
    ) -> bool:
        """Judge the `step` that has just been made; whether to go back to a checkpoint.

        `rows` describes those of the step. Raises TrainingError where it is to end the training.
        """
        anomaly = self._watch.judge(
            loss=result.loss,
            grad_norm=None if result.skipped else result.grad_norm,
            overflow=result.skipped and not self._fp16,
        )
        if anomaly is None:
            return False
        action = "stop" if self._watch.exhausted else self._rule.policy
        if self._first:
            write_event(self._run, anomaly, step=step, action=action, batch=rows())
        what = f"step {step}: {anomaly} ({self._run / EVENTS} has its examples)"
        if action == "rollback":
            logger.warning("%s", what)
        elif action == "skip":
            logger.warning("%s; %s", what, "skipped" if result.skipped else "not skipped")
        else:
            raise TrainingError(f"{what}. {self._way_on()}")
        return action == "rollback"

    def _way_on(self) -> str:
        """What a user can do whose training an anomaly has ended."""
        self._checkpoints.finish()
        saved = self._checkpoints.saved_step
        there = "There is no checkpoint yet" if saved is None else f"Step {saved} is saved"
        if self._watch.exhausted:
            return (
                f"{there}; that was anomaly {self._watch.count}, and train.anomalies.limit is "
                f"{self._rule.limit}: raise it, or optimizer.learning_rate may be too high."
            )
        if saved is None:
            return (
                f"{there}. So early, most often the steps before were too large: start again with "
                "a lower optimizer.learning_rate or a longer schedule.warmup."
            )
        return (
            f"{there}; to go on past it, run again with train.anomalies.policy=skip or =rollback, "
            "or learn more slowly."
        )
