"""The progress of long commands on standard error: a live line on a terminal, elsewhere lines.

Elsewhere means: where standard error is not a terminal, with NO_COLOR, and with TERM=dumb. There
the first line comes at once, then one line every ten seconds. With --quiet there is neither.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol

from ptm.cli.console import is_quiet, print_note
from ptm.console.live_line import LiveLine
from ptm.console.phases import listening_to
from ptm.console.terminal import has_colours
from ptm.console.wrapping import SEPARATOR
from ptm.durations import clock

SECONDS_BEFORE_LINES = 0.0
"""Until the first line, if the line is not live."""
_SECONDS_BETWEEN_LINES = 10.0
_UNKNOWN = "ETA -:--"
_SECONDS_BEFORE_ETA, _SHARE_BEFORE_ETA = 5.0, 0.02
"""The first items also take what is done once, such as loading code: their rate predicts little."""
_SECONDS_WITHOUT_SHARE = 60.0
"""After this time, the time left is shown at any share."""


class ReadingProgress(Protocol):
    """How far a command has read its files, in `seconds` since it began."""

    @property
    def bytes_read(self) -> int: ...
    @property
    def bytes_total(self) -> int: ...
    @property
    def documents(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class Progress:
    """Shows what a command does, from `__enter__` to `__exit__`, and all phases below it."""

    def __init__(
        self,
        subject: str,
        *,
        phase: str = "starting",
        documents: str = "documents",
        forks: bool = False,
    ) -> None:
        """`subject`: what the command works on. `phase`: the first one, before others are reported.

        `documents`: what the files hold that the command reads. `forks`: whether the command starts
        processes by forking this one, which must not have further threads then.
        """
        self._subject = subject
        self._documents = documents
        self._phase, self._unit = phase, ""
        self._count = 0.0
        self._total: float | None = None
        self._details: list[str] = []
        self._began = time.monotonic()
        self._next_line = self._began + SECONDS_BEFORE_LINES
        self._is_quiet = is_quiet()
        self._live: LiveLine | None = None
        if not self._is_quiet and has_colours(sys.stderr):
            self._live = LiveLine(sys.stderr, self._share_and_parts, has_thread=not forks)
        self._listening = listening_to(self)

    def __enter__(self) -> Progress:
        self._listening.__enter__()
        if self._live is not None:
            self._live.start()
        self._print_line()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listening.__exit__(kind, error, trace)
        if self._live is not None:
            self._live.stop()

    def begin(self, phase: str, *, total: int | None = None, unit: str = "") -> None:
        """A phase begins. `total`: its size in `unit`; None: not known."""
        self._phase, self._unit, self._total = phase, unit, total
        self._count, self._details = 0, []
        self._began = time.monotonic()
        self._print_line()

    def done(self, count: int) -> None:
        """`count` of the phase are done, in its unit."""
        self._count = count
        self._print_line()

    def show(self, reading: ReadingProgress) -> None:
        """Show how far the files are read."""
        self._phase, self._unit = "reading", "MB"
        self._began = time.monotonic() - reading.seconds
        self._count = reading.bytes_read / 1e6
        self._total = reading.bytes_total / 1e6 or None
        self._details = [f"{reading.documents:,} {self._documents}"]
        tokens = getattr(reading, "tokens", None)
        if tokens is not None:
            self._details.append(f"{tokens:,} tokens")
        self._print_line()

    def _print_line(self) -> None:
        """Show the change: in the live line, or in a line if the last one is old enough."""
        if self._live is not None:
            self._live.redraw()
            return
        now = time.monotonic()
        if self._is_quiet or now < self._next_line:
            return
        self._next_line = now + _SECONDS_BETWEEN_LINES
        _, parts = self._share_and_parts()
        print_note(f"{self._subject}: {SEPARATOR.join(one for one in parts if one != _UNKNOWN)}")

    def _share_and_parts(self) -> tuple[float | None, list[str]]:
        """The share that is done, and what the line says, as `line_of` takes them."""
        # The thread that draws calls this while the main thread changes the values.
        count, total, unit = self._count, self._total, self._unit
        seconds = max(time.monotonic() - self._began, 1e-9)
        if total is None and not count:
            # Nothing to count: the clock shows that the command is alive.
            return None, [self._phase, *([clock(seconds)] if seconds >= 1 else [])]
        counted = _number(count, unit) + ("" if total is None else f"/{_number(total, unit)}")
        parts = [f"{counted} {unit}"]
        if count:
            rate = count / seconds
            parts.append(f"{rate:,.{0 if rate >= 100 else 2}f} {unit}/s")
        parts += [self._phase, *self._details]
        if total is None:
            return None, [*parts, _UNKNOWN]
        share = count / total
        if not _is_predictable(share, seconds):
            return share, [*parts, _UNKNOWN]
        return share, [*parts, f"ETA {clock((total - count) * seconds / count)}"]


def _is_predictable(share: float, seconds: float) -> bool:
    """Whether the time left can be estimated from the share that took `seconds`."""
    is_enough = share >= _SHARE_BEFORE_ETA and seconds >= _SECONDS_BEFORE_ETA
    return is_enough or (share > 0 and seconds >= _SECONDS_WITHOUT_SHARE)


def _number(count: float, unit: str) -> str:
    return f"{count:,.1f}" if unit == "MB" else f"{count:,.0f}"
