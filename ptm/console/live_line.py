"""One line at the bottom of a terminal that is rewritten in place.

Whatever else the process prints on the same terminal scrolls above it: log messages, results,
warnings of libraries and tracebacks of threads.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from ptm.console.terminal import are_same_terminal
from ptm.console.wrapping import SEPARATOR
from ptm.escaping import escaped

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

_TIMES_PER_SECOND = 4
_BAR, _SHORT_BAR = 20, 8
"""Columns of the bar, and those on a narrow terminal."""
_NARROW = 60


class LiveLine:
    """The live line of a process, between `start` and `stop`.

    A thread draws it four times per second, so that the main thread never waits for the terminal.
    A process that is going to fork has no such thread: its main thread calls `redraw`.
    """

    def __init__(
        self,
        stream: TextIO,
        parts: Callable[[], tuple[float | None, list[str]]],
        *,
        has_thread: bool = True,
    ) -> None:
        """`stream`: a terminal. `parts`: the share that is done and the parts, see `line_of`."""
        self._has_thread = has_thread
        self._next = 0.0
        self._stream = stream
        self._parts = parts
        self._live: Live | None = None
        self._handlers: list[tuple[logging.StreamHandler[Any], Any]] = []
        self._streams: tuple[Any, Any] | None = None

    def start(self) -> None:
        """Show the line, and let everything else scroll above it."""
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self._stream, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=console,
            get_renderable=lambda: line_of(*self._parts(), width=console.width),
            auto_refresh=self._has_thread,
            refresh_per_second=_TIMES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        # At once: an import on the main thread may keep the drawing thread waiting.
        self._live.start(refresh=True)
        self._redirect(console)

    def redraw(self) -> None:
        """Draw the line, if no thread does and the last time is a quarter of a second ago."""
        if self._live is None or self._has_thread or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 1 / _TIMES_PER_SECOND
        self._live.refresh()

    def _redirect(self, console: Console) -> None:
        for handler in logging.getLogger("ptm").handlers:
            if type(handler) is logging.StreamHandler and self._is_here(handler.stream):
                before = handler.setStream(_AboveLine(console, handler.stream))
                self._handlers.append((handler, before))
        self._streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (
            _AboveLine(console, stream) if self._is_here(stream) else stream
            for stream in self._streams
        )

    def _is_here(self, stream: TextIO) -> bool:
        return are_same_terminal(stream, self._stream)

    def stop(self) -> None:
        """Remove the line; print what was written above it without a line end."""
        if self._live is None:
            return
        self._live.stop()
        self._live = None
        written = [handler.stream for handler, _ in self._handlers]
        for handler, stream in self._handlers:
            handler.setStream(stream)
        self._handlers.clear()
        if self._streams is not None:
            written += [sys.stdout, sys.stderr]
            sys.stdout, sys.stderr = self._streams
            self._streams = None
        for stream in written:
            if isinstance(stream, _AboveLine):
                stream.end()

    @property
    def is_shown(self) -> bool:
        """Whether the line is on the terminal now."""
        return self._live is not None


class _AboveLine(io.TextIOBase):
    """A stream whose lines are printed above the live line, each when it is complete."""

    def __init__(self, console: Console, stream: TextIO) -> None:
        self._console = console
        self._stream = stream
        self._pending = ""
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._pending = (self._pending + text).split("\n")
            if lines:
                # Lines are wrapped between words already, so that a path can be copied.
                self._console.out("\n".join(lines), highlight=False)
        return len(text)

    def flush(self) -> None:
        """Do nothing: complete lines are printed already, the rest waits for its end."""

    def end(self) -> None:
        """Write the incomplete last line to the stream itself."""
        if self._pending:
            self._stream.write(self._pending)
            self._stream.flush()
            self._pending = ""


def line_of(share: float | None, parts: Sequence[str], *, width: int) -> Text:
    """A bar and `parts` on one line of fewer than `width` columns.

    `share`: of the work that is done, 0 to 1; None: not known, no bar. Parts are in the order of
    their importance, except that the last one stays; those that do not fit are left out.
    """
    from rich.cells import cell_len
    from rich.text import Text

    # At full width, some terminals begin a new line.
    room = width - 1
    bar = 0 if share is None else _BAR if width >= _NARROW else _SHORT_BAR
    room -= bar + 1 if bar else 0
    left = [escaped(part) for part in parts]
    while len(left) > 2 and cell_len(SEPARATOR.join(left)) > room:
        del left[-2]
    line = Text(no_wrap=True, overflow="ellipsis")
    if share is not None:
        done = round(bar * min(1.0, share))
        line.append("━" * done, style="cyan")
        line.append("━" * (bar - done), style="bright_black")
        line.append(" ")
    text = Text(SEPARATOR.join(left))
    text.truncate(max(0, room), overflow="ellipsis")
    return line + text
