"""The live line of a training on a terminal: progress, last values, time left.

It shows what the host knows already and never waits for the device. Log messages scroll above it.
Where standard output is not a terminal, and with NO_COLOR, there is no such line.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ptm.durations import clock

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

_BAR = 20
"""Columns of the progress bar."""
_TIMES_PER_SECOND = 4
_SEPARATOR = " · "


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
        self._live: Live | None = None
        self._handlers: list[tuple[logging.StreamHandler[Any], Any]] = []
        self._phase, self._step = "starting", 0
        self._values: Mapping[str, Any] = {}
        self._first: tuple[int, float] | None = None
        """Step and time at which the training began."""
        self._is_active = is_active and sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def __enter__(self) -> TrainingDisplay:
        handlers = _terminal_handlers()
        # With --quiet, no handler prints progress.
        if not self._is_active or not handlers:
            return self
        from rich.console import Console
        from rich.file_proxy import FileProxy
        from rich.live import Live

        console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=console,
            get_renderable=self.line,
            refresh_per_second=_TIMES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        for handler in handlers:
            proxy = FileProxy(console, handler.stream)
            self._handlers.append((handler, handler.setStream(proxy)))
        return self

    @property
    def is_live(self) -> bool:
        """Whether the line is shown now."""
        return self._live is not None

    def __exit__(self, *_: object) -> None:
        for handler, stream in self._handlers:
            handler.setStream(stream)
        self._handlers.clear()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def note(self, phase: str, step: int) -> None:
        """Note that `step` steps are done and what the training does now."""
        self._phase, self._step = phase, step
        if phase == "training" and self._first is None:
            self._first = step, time.monotonic()

    def report(self, record: Mapping[str, Any]) -> None:
        """Note the values of a report of the training itself."""
        if record["split"] == "train":
            self._values = record

    def line(self) -> Text:
        from rich.text import Text

        width = self._live.console.width if self._live is not None else 80
        parts = self._parts()
        # Less important ones come last and are left out first, but the time left stays.
        while len(_SEPARATOR.join(parts)) + _BAR + 1 >= width and len(parts) > 2:
            del parts[-2]
        line = Text(no_wrap=True, overflow="crop")
        done = round(_BAR * min(1.0, self._step / max(1, self._steps)))
        line.append("━" * done, style="cyan")
        line.append("━" * (_BAR - done), style="bright_black")
        line.append(" " + _SEPARATOR.join(parts))
        return line

    def _parts(self) -> list[str]:
        """What the line says, the most important first; the time left last."""
        values = self._values
        share = 100 * self._step / max(1, self._steps)
        parts = [f"{self._step:,}/{self._steps:,} {share:.0f} %"]
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
        return parts

    def _time_left(self) -> str:
        left = self._steps - self._step
        if "step_seconds" in self._values:
            return clock(left * self._values["step_seconds"])
        if self._first is None or self._step <= self._first[0]:
            return "-:--"
        step, began = self._first
        return clock(left * (time.monotonic() - began) / (self._step - step))


def _terminal_handlers() -> list[logging.StreamHandler[Any]]:
    """The handlers that print progress on a terminal."""
    return [
        handler
        for handler in logging.getLogger("ptm").handlers
        if type(handler) is logging.StreamHandler
        and handler.level <= logging.INFO
        and handler.stream.isatty()
    ]
