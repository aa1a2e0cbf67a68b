"""Trackers of a run, one file each. A tracker that fails is disabled; training continues."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ptm.component import classes_in
from ptm.errors import UserError
from ptm.recipe import Recipe
from ptm.train.samples.record import SampleRecord, read_samples
from ptm.train.trackers.background import Background
from ptm.train.trackers.base import EndState, History, RecipeTracker, Tracker
from ptm.train.trackers.metric_names import read_past_reports, tracker_values

__all__ = [
    "EndState",
    "Tracker",
    "Trackers",
    "check_packages",
    "known_trackers",
    "missing_packages",
    "tracker_values",
]

logger = logging.getLogger(__name__)


@functools.cache
def known_trackers() -> Mapping[str, type[RecipeTracker]]:
    """The trackers by their key in `tracking`."""
    return {one.KEY: one for one in classes_in(__name__, RecipeTracker)}  # type: ignore[type-abstract]


def _chosen(recipe: Recipe) -> dict[str, type[RecipeTracker]]:
    """The trackers that the recipe switches on."""
    tracking = recipe.tracking
    return {
        k: one for k, one in known_trackers().items() if getattr(tracking, k) not in (None, False)
    }


def missing_packages(recipe: Recipe) -> Iterator[str]:
    """A sentence for each tracker of the recipe whose package is not installed."""
    for key, tracker in _chosen(recipe).items():
        if importlib.util.find_spec(tracker.PACKAGE) is None:
            yield (
                f"tracking.{key}: the package {tracker.PACKAGE} is not installed. "
                f"{_how_to_install(tracker)}"
            )


def _how_to_install(tracker: type[RecipeTracker]) -> str:
    """The command that installs the package of a tracker, in a sentence."""
    command = tracker.INSTALL or f"pip install -e '.[{tracker.KEY}]'"
    return f"Install it with: {command}"


def check_packages(recipe: Recipe) -> None:
    """Raise UserError if the package of a tracker is missing, before a training without charts."""
    missing = list(missing_packages(recipe))
    if missing:
        raise UserError(*missing)


def _make(
    tracker: type[RecipeTracker], recipe: Recipe, folder: Path, history: History
) -> RecipeTracker:
    """Create a tracker. Raises ImportError with the command that installs what is missing."""
    try:
        return tracker(recipe, folder, history)
    except ImportError as error:
        raise ImportError(f"{error}. {_how_to_install(tracker)}") from error


class Trackers:
    """All trackers of a run. A tracker that fails is disabled.

    Earlier reports of the run are in its metrics.jsonl, which a resumed run has already cut back to
    its checkpoint. Each tracker makes its history agree with that file, as far as it can.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self._trackers: dict[str, Tracker] = {}
        chosen = _chosen(recipe)
        if not chosen:
            return
        try:
            reports = read_past_reports(folder / "metrics.jsonl")
            history = History(reports, read_samples(folder))
        except Exception as error:
            logger.warning(
                "trackers are disabled because earlier reports cannot be read: %s", error
            )
            return
        for key, tracker in chosen.items():
            make = functools.partial(_make, tracker, recipe, folder, history)
            waits = tracker.WAITS_FOR_NETWORK
            self._start(key, functools.partial(Background, key, make) if waits else make)

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

    def close(self, state: EndState = "done") -> None:
        """Flush and close all trackers, which show how the run ended."""
        for name, tracker in self._trackers.items():
            try:
                tracker.close(state)
            except Exception as error:
                logger.warning("%s could not be closed: %s", name, error)
