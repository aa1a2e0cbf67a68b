"""Programs on a pseudo-terminal: what a user would see on a screen of given size."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyte
from rich.cells import cell_len

from tests.support.small_runs import PROJECT

_TICKS = os.sysconf("SC_CLK_TCK")
_HISTORY = 10_000
_CONTROL_CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@dataclass
class Recording:
    """What a program printed on a terminal of `columns` x `rows`, and how it ended."""

    columns: int
    rows: int
    code: int = -1
    """The exit code; that of a shell if a signal ended the program."""
    raw: bytes = b""
    screens: list[list[str]] = field(default_factory=list)
    """The screen after every piece of output, without empty lines and screens."""
    final: list[str] = field(default_factory=list)
    """All lines at the end: those that were scrolled away, and the screen."""
    first_line: float | None = None
    """Processor seconds until the first line."""
    first_step: float | None = None
    """Processor seconds until the line of the first step."""

    @staticmethod
    def cells(line: str) -> str:
        """`line` with one character per column: a space follows each wide character."""
        return "".join(one + " " * (cell_len(one) - 1) for one in line)

    @property
    def widest(self) -> int:
        """Columns of the widest line that the program printed, before the terminal breaks it."""
        text = _CONTROL_CODES.sub("", self.raw.decode("utf-8"))
        return max(cell_len(line) for line in re.split(r"[\r\n]+", text))


def record(
    arguments: Sequence[str],
    *,
    program: Sequence[str] = ("-m", "ptm"),
    columns: int = 80,
    rows: int = 24,
    folder: Path | None = None,
    environment: dict[str, str] | None = None,
    interrupt_when: Callable[[list[str]], bool] | None = None,
    seconds: float = 240,
) -> Recording:
    """Run `ptm` with `arguments` on a pseudo-terminal, which also is its standard input.

    `program`: the words before them on Python's command line. `folder`: the current directory.
    `interrupt_when`: types Ctrl-C once, as soon as it is true of the screen.
    """
    found = Recording(columns, rows)
    screen = pyte.HistoryScreen(columns, rows, history=_HISTORY)
    stream = pyte.ByteStream(screen)
    pid, terminal = pty.fork()
    if pid == 0:
        _become([*program, *arguments], folder, environment or {}, columns, rows)
    is_interrupted, end = False, time.monotonic() + seconds
    try:
        while (piece := _read(pid, terminal, end)) is not None:
            found.raw += piece
            stream.feed(piece)
            lines = _lines(screen.display)
            found.screens += [lines] if lines else []
            _note_times(found, pid, lines)
            if interrupt_when is not None and not is_interrupted and interrupt_when(lines):
                os.write(terminal, b"\x03")
                is_interrupted = True
    finally:
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
        found.code = os.waitstatus_to_exitcode(status)
    scrolled = ["".join(line[x].data for x in range(columns)) for line in screen.history.top]
    found.final = _lines([*scrolled, *screen.display])
    return found


def _become(
    words: Sequence[str],
    folder: Path | None,
    environment: dict[str, str],
    columns: int,
    rows: int,
) -> None:
    """In the new process: set the size of the terminal, then run Python with `words`."""
    try:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(0, termios.TIOCSWINSZ, size)
        inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
        variables = {"TERM": "xterm-256color", "PYTHONPATH": str(PROJECT)}
        os.chdir(folder or Path.cwd())
        os.execve(
            sys.executable,
            [sys.executable, *words],
            {**inherited, **variables, **environment},
        )
    finally:
        os._exit(127)


def _read(pid: int, terminal: int, end: float) -> bytes | None:
    """The next piece of output; None at its end. Kills a program that takes too long."""
    while True:
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            return None
        if not select.select([terminal], [], [], 0.5)[0]:
            continue
        try:
            return os.read(terminal, 1 << 16) or None
        except OSError:
            # Linux reports the end of the last process of a terminal as an error.
            return None


def _note_times(found: Recording, pid: int, lines: Sequence[str]) -> None:
    if found.first_line is None and lines:
        found.first_line = _processor_seconds(pid)
    if found.first_step is None and any(line.startswith("step 1/") for line in lines):
        found.first_step = _processor_seconds(pid)


def _processor_seconds(pid: int) -> float:
    """Seconds that the program has computed. Unlike the clock, they hardly depend on the load."""
    try:
        values = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return float("inf")
    return (int(values[11]) + int(values[12])) / _TICKS


def _lines(display: Sequence[Any]) -> list[str]:
    # The cell after a wide character is empty.
    return [line.rstrip() for line in display if line.strip()]
