"""The live line of a training on a terminal: progress, last values, time left.

It shows what the host knows already and never waits for the device. Log messages scroll above it.
Where standard output is not a terminal, and with NO_COLOR, there is no such line.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from ptm.console.live_line import LiveLine
from ptm.console.terminal import has_colours
from ptm.durations import clock


class TrainingDisplay:
    """The live line of one process, from `__enter__` to `__exit__`."""

    def __init__(
        self, *, steps: int, is_active: bool, higher: Callable[[str], bool] = lambda name: False
    ) -> None:
        """`steps`: of the whole run. `is_active`: whether this rank may show a line.

        `higher`: whether a higher value of a metric is better; the first such metric is shown.
        """
        self._steps = steps
        self._higher = higher
        self._live = LiveLine(sys.stdout, self.share_and_parts)
        self._phase, self._step = "starting", 0
        self._values: Mapping[str, Any] = {}
        self._first: tuple[int, float] | None = None
        """Step and time at which the training began."""
        self._is_active = is_active and has_colours(sys.stdout)

    def __enter__(self) -> TrainingDisplay:
        # With --quiet, no handler prints progress.
        if self._is_active and _progress_is_printed():
            self._live.start()
        return self

    @property
    def is_live(self) -> bool:
        """Whether the line is shown now."""
        return self._live.is_shown

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def note(self, phase: str, step: int) -> None:
        """Note that `step` steps are done and what the training does now."""
        self._phase, self._step = phase, step
        if phase == "training" and self._first is None:
            self._first = step, time.monotonic()

    def report(self, record: Mapping[str, Any]) -> None:
        """Note the values of a report of the training itself."""
        if record["split"] == "train":
            self._values = record

    def share_and_parts(self) -> tuple[float, list[str]]:
        """What the line says: the share of the steps, and the parts as `line_of` takes them."""
        values = self._values
        share = self._step / max(1, self._steps)
        parts = [f"{self._step:,}/{self._steps:,} {100 * share:.0f} %"]
        if self._phase != "training":
            parts.append(self._phase)
        if values.get("loss") is not None:
            parts.append(f"loss {values['loss']:.4f}")
        if "tokens_per_second" in values:
            parts.append(f"{values['tokens_per_second']:,.0f} tokens/s")
        metric = next((name for name in values if self._higher(name)), None)
        if metric is not None and values[metric] is not None:
            parts.append(f"{metric} {values[metric]:.3f}")
        if "mfu" in values:
            parts.append(f"MFU {100 * values['mfu']:.0f} %")
        if "memory_bytes" in values:
            parts.append(f"{values['memory_bytes'] / 1e9:.1f} GB")
        parts.append(f"ETA {self._time_left()}")
        return share, parts

    def _time_left(self) -> str:
        left = self._steps - self._step
        if "step_seconds" in self._values:
            return clock(left * self._values["step_seconds"])
        if self._first is None or self._step <= self._first[0]:
            return "-:--"
        step, began = self._first
        return clock(left * (time.monotonic() - began) / (self._step - step))


def _progress_is_printed() -> bool:
    return any(
        type(handler) is logging.StreamHandler
        and handler.level <= logging.INFO
        and handler.stream.isatty()
        for handler in logging.getLogger("ptm").handlers
    )
