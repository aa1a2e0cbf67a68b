"""`ptm tail`: the newest lines of a run's log."""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ptm.cli.console import print_result
from ptm.errors import EXIT_DONE, UserError

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
        for line in deque(_whole_lines(log), maxlen=parsed.lines):
            print_result(line)
        if parsed.follow:
            _follow(log, parsed.run)
    return EXIT_DONE


def _whole_lines(log: IO[str]) -> Iterator[str]:
    """The lines up to the end. A line that is being written is left for the next call."""
    while True:
        begin = log.tell()
        line = log.readline()
        if not line.endswith("\n"):
            log.seek(begin)
            return
        yield line.rstrip("\n")


def _follow(log: IO[str], run: Path) -> None:
    from ptm.runs.status import run_status

    try:
        while True:
            # The state first: what a run writes before it ends is printed.
            state = run_status(run).state
            for line in _whole_lines(log):
                print_result(line)
            if state != "running":
                print_result(f"{run}: {state}")
                return
            time.sleep(_SECONDS)
    except KeyboardInterrupt:
        return
