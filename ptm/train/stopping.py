"""Reasons to stop before the last step: signals, the clock, a metric that no longer gets better."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

from ptm.errors import EXIT_INTERRUPTED, EXIT_STOPPED
from ptm.recipe.blocks import EarlyStopping


class StopRequests:
    """SIGTERM, SIGUSR1 and Ctrl-C: finish the step, save, leave. A second Ctrl-C leaves at once."""

    def __init__(self, *, wall_time_hours: float | None) -> None:
        self.exit_code: int | None = None
        self.reason = ""
        self._deadline = time.monotonic() + wall_time_hours * 3600 if wall_time_hours else None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequests:
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._asked)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.exit_code == EXIT_INTERRUPTED:
            # Nothing half-written has a checkpoint's name, so leaving at once does no harm.
            os._exit(EXIT_INTERRUPTED)
        self.exit_code = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_STOPPED
        self.reason = signal.Signals(number).name

    def due(self, *, progressed: bool) -> int | None:
        """The exit code if it is time to stop; the clock stops only what has `progressed`."""
        over = self._deadline is not None and time.monotonic() >= self._deadline
        if self.exit_code is None and over and progressed:
            self.exit_code, self.reason = EXIT_STOPPED, "train.wall_time_hours is used up"
        return self.exit_code


def is_better(metric: str, value: float, best: float | None, *, by: float = 0.0) -> bool:
    """Whether `value` beats `best` by more than `by`: accuracies upwards, all else downwards."""
    sign = 1 if metric.endswith("accuracy") else -1
    return best is None or sign * (value - best) > by


class Patience:
    """Counts evaluations without a better value; part of a checkpoint."""

    def __init__(self, rule: EarlyStopping | None, state: Mapping[str, Any] | None = None) -> None:
        self._rule = rule
        self.best: float | None = state["best"] if state else None
        self.misses: int = state["misses"] if state else 0

    def note(self, metrics: Mapping[str, float]) -> None:
        """Take in one evaluation."""
        if self._rule is None:
            return
        value = metrics[self._rule.metric]
        better = is_better(self._rule.metric, value, self.best, by=self._rule.minimum_change)
        self.best = value if better else self.best
        self.misses = 0 if better else self.misses + 1

    @property
    def exhausted(self) -> bool:
        """Whether to end the training."""
        return self._rule is not None and self.misses >= self._rule.patience

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"best": self.best, "misses": self.misses}
