"""TensorBoard and Weights & Biases. A tracker that fails is disabled; training continues."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ptm.recipe import Recipe
from ptm.train.samples.record import SampleRecord, read_samples
from ptm.train.trackers.background import Background
from ptm.train.trackers.base import Tracker
from ptm.train.trackers.metric_names import read_past_reports, tracker_values
from ptm.train.trackers.tensorboard import TensorBoard
from ptm.train.trackers.wandb import Wandb

__all__ = ["Tracker", "Trackers", "tracker_values"]

logger = logging.getLogger(__name__)


class Trackers:
    """All trackers of a run. A tracker that fails is disabled.

    Earlier reports of the run are in its metrics.jsonl, which a resumed run has already cut back to
    its checkpoint. Each tracker makes its history agree with that file, as far as it can.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self._trackers: dict[str, Tracker] = {}
        block = recipe.tracking.wandb
        if not recipe.tracking.tensorboard and block is None:
            return
        try:
            past_reports = read_past_reports(folder / "metrics.jsonl")
            past_samples = read_samples(folder)
        except Exception as error:
            logger.warning(
                "trackers are disabled because earlier reports cannot be read: %s", error
            )
            return
        if recipe.tracking.tensorboard:
            self._start(
                "tensorboard",
                lambda: TensorBoard(folder / "tensorboard", past_reports, past_samples),
            )
        if block is not None:
            # On its own thread, as it may wait for the network.
            self._start(
                "wandb",
                lambda: Background(
                    "wandb", lambda: Wandb(block, recipe, folder, past_reports, past_samples)
                ),
            )

    def _start(self, name: str, make: Callable[[], Tracker]) -> None:
        try:
            self._trackers[name] = make()
        except Exception as error:
            logger.warning("%s cannot be used and is disabled: %s", name, error)

    def log(self, *records: Mapping[str, Any]) -> None:
        """Send the reports of one step to every tracker, in one call."""
        values = {name: v for record in records for name, v in tracker_values(record).items()}
        self._call(lambda tracker: tracker.log(values, records[0]["step"]))

    def log_samples(self, record: SampleRecord) -> None:
        """Send the sample predictions of a step; call it before `log` for the same step."""
        self._call(lambda tracker: tracker.log_samples(record))

    def alert(self, title: str, text: str, *, is_error: bool = False) -> None:
        """Notify those who follow the run, with every tracker that can."""
        self._call(lambda tracker: tracker.alert(title, text, is_error=is_error))

    def _call(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                call(tracker)
            except Exception as error:
                logger.warning("%s failed and is now disabled: %s", name, error)
                del self._trackers[name]

    def close(self) -> None:
        """Flush and close all trackers."""
        for name, tracker in self._trackers.items():
            try:
                tracker.close()
            except Exception as error:
                logger.warning("%s could not be closed: %s", name, error)
