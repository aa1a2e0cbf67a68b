"""TensorBoard and Weights & Biases. A tracker that fails is left out; it never stops a training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ptm.recipe import Recipe
from ptm.train.trackers.background import Background
from ptm.train.trackers.base import Tracker
from ptm.train.trackers.metric_names import reports_so_far, tracker_values
from ptm.train.trackers.tensorboard import TensorBoard
from ptm.train.trackers.wandb import Wandb

__all__ = ["Tracker", "Trackers", "tracker_values"]

logger = logging.getLogger(__name__)


class Trackers:
    """All trackers of a run, those that fail left out from then on.

    What the run told before lies in its metrics.jsonl, which a continued run has cut back to its
    checkpoint by now. Each tracker makes what it shows agree with that, as far as it can.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self._trackers: dict[str, Tracker] = {}
        block = recipe.tracking.wandb
        if not recipe.tracking.tensorboard and block is None:
            return
        try:
            told = reports_so_far(folder / "metrics.jsonl")
        except Exception as error:
            logger.warning("trackers are left out, as metrics.jsonl cannot be read: %s", error)
            return
        if recipe.tracking.tensorboard:
            self._start("tensorboard", lambda: TensorBoard(folder / "tensorboard", told))
        if block is not None:
            # On a thread of its own, as it may wait for the net.
            self._start(
                "wandb", lambda: Background("wandb", lambda: Wandb(block, recipe, folder, told))
            )

    def _start(self, name: str, make: Callable[[], Tracker]) -> None:
        try:
            self._trackers[name] = make()
        except Exception as error:
            logger.warning("%s cannot be used and is left out: %s", name, error)

    def log(self, *records: Mapping[str, Any]) -> None:
        """Send the reports of one step to every tracker, together."""
        values = {name: v for record in records for name, v in tracker_values(record).items()}
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.log(values, records[0]["step"])
            except Exception as error:
                logger.warning("%s failed and is left out from here on: %s", name, error)
                del self._trackers[name]

    def close(self) -> None:
        """Write out everything."""
        for name, tracker in self._trackers.items():
            try:
                tracker.close()
            except Exception as error:
                logger.warning("%s could not be closed: %s", name, error)
