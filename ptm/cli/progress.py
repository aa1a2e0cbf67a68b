"""The progress line of long commands."""

from __future__ import annotations

import sys
from typing import Protocol

from ptm.cli.console import is_quiet
from ptm.durations import clock


class ReadingProgress(Protocol):
    """How far a command has read its files, in `seconds` since its start."""

    @property
    def bytes_read(self) -> int: ...
    @property
    def bytes_total(self) -> int: ...
    @property
    def documents(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class ProgressLine:
    """One line, rewritten on a terminal; elsewhere a new line every ten seconds."""

    _SECONDS_WITHOUT_TERMINAL = 10.0

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._next = 0.0 if self._terminal else self._SECONDS_WITHOUT_TERMINAL
        self._open = False

    def show(self, progress: ReadingProgress) -> None:
        """Print the progress if the last line is old enough."""
        if is_quiet() or progress.seconds < self._next:
            return
        self._next = progress.seconds + (0.2 if self._terminal else self._SECONDS_WITHOUT_TERMINAL)
        rate = progress.bytes_read / max(progress.seconds, 1e-9)
        left = (progress.bytes_total - progress.bytes_read) / max(rate, 1e-9)
        tokens = getattr(progress, "tokens", None)
        text = (
            f"{progress.bytes_read / 1e6:.1f} of {progress.bytes_total / 1e6:.1f} MB · "
            f"{progress.documents:,} documents · "
            f"{'' if tokens is None else f'{tokens:,} tokens · '}"
            f"{rate / 1e6:.2f} MB/s · ETA {clock(left)}"
        )
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            self._open = True
        else:
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clear the line."""
        if self._open:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
