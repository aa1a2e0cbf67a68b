"""`ptm tail`: the newest lines of a run's log.

On a terminal each line has the time of day and the message; elsewhere it is as in the file.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ptm.cli.console import print_rendered, print_result
from ptm.console.terminal import has_colours
from ptm.errors import EXIT_DONE, UserError
from ptm.escaping import escaped

NAME = "tail"
HELP = "print the newest lines of a run's log, and follow it"
ORDER = 131

_SECONDS = 0.5
_LINES = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of the run")
    parser.add_argument(
        "-n", "--lines", metavar="N", type=int, default=_LINES, help=f"default {_LINES}"
    )
    parser.add_argument(
        "-f", "--follow", action="store_true", help="print new lines until the run ends, or Ctrl-C"
    )


def run(parsed: argparse.Namespace) -> int:
    if parsed.lines < 0:
        raise UserError(f"--lines {parsed.lines}: must be at least 0.")
    path = parsed.run / "train.log"
    try:
        log = path.open(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise UserError(
            f'"{parsed.run}" is not a run that has started: it has no train.log.'
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from error
    with log:
        show = _Lines()
        for line in deque(_whole_lines(log), maxlen=parsed.lines):
            show(line)
        if parsed.follow:
            _follow(log, parsed.run, show)
    return EXIT_DONE


_LINE = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d) (?P<time>\d\d:\d\d:\d\d),\d+ (?P<level>[A-Z]+) \S+: (?P<text>.*)"
)
_STYLES = {"WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red"}


class _Lines:
    """Prints lines of a log; on a terminal without what is the same in all of them."""

    def __init__(self) -> None:
        self._is_short = has_colours(sys.stdout)
        self._day = ""

    def __call__(self, line: str) -> None:
        found = _LINE.fullmatch(line) if self._is_short else None
        if found is None:
            # A line of a traceback, or no terminal.
            print_result(line)
            return
        if found["day"] != self._day:
            self._day = found["day"]
            self._print((self._day, "dim"))
        style = _STYLES.get(found["level"])
        level = [(f"{found['level'].lower()}: ", style)] if style else []
        self._print((found["time"], "dim"), *level, (found["text"], ""))

    def _print(self, first: tuple[str, str], *message: tuple[str, str]) -> None:
        """Print the first part, and the message beside it, indented where it is broken."""
        from rich.table import Table
        from rich.text import Text

        from ptm.cli.tables import rendered

        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(no_wrap=True)
        text = Text.assemble(*((escaped(part), style) for part, style in message))
        grid.add_row(Text(first[0], first[1]), text)
        print_rendered(rendered(grid))


def _whole_lines(log: IO[str]) -> Iterator[str]:
    """The lines up to the end. A line that is being written is left for the next call."""
    while True:
        begin = log.tell()
        line = log.readline()
        if not line.endswith("\n"):
            log.seek(begin)
            return
        yield line.rstrip("\n")


def _follow(log: IO[str], run: Path, show: _Lines) -> None:
    from ptm.runs.status import run_status

    try:
        while True:
            # The state first: what a run writes before it ends is printed.
            state = run_status(run).state
            for line in _whole_lines(log):
                show(line)
            if state != "running":
                print_result(f"{run}: {state}")
                return
            time.sleep(_SECONDS)
    except KeyboardInterrupt:
        return
