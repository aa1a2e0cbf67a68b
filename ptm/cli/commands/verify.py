"""`ptm verify`: whether the checkpoints of a run are whole."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptm.errors import EXIT_DONE, EXIT_USER

NAME = "verify"
HELP = "read all checkpoints of a run against their checksums"
ORDER = 140


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    parser.add_argument("run", metavar="RUN", type=Path)


def run(parsed: argparse.Namespace) -> int:
    """Run it; return the exit code, that of an error where the newest is damaged."""
    from ptm.runs.verify import verified

    newest_is_whole = True
    for index, one in enumerate(verified(parsed.run)):
        print(f"{one.name}  {one.problem or 'whole'}", flush=True)
        newest_is_whole = newest_is_whole and not (index == 0 and one.problem)
    return EXIT_DONE if newest_is_whole else EXIT_USER
