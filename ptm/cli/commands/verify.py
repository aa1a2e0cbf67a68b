"""`ptm verify`: checks the checkpoints of a run, or a token store, against their checksums."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptm.cli.console import print_result
from ptm.errors import EXIT_DONE, EXIT_USER

NAME = "verify"
HELP = "check all checkpoints of a run, or a token store, against their checksums"
ORDER = 140


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="RUN|STORE", type=Path, help="a run, or a token store")


def run(parsed: argparse.Namespace) -> int:
    """Exit with 2 if the newest checkpoint, or the store, is damaged."""
    from ptm.runs.verify import verify

    newest_is_complete = True
    for index, one in enumerate(verify(parsed.path)):
        print_result(f"{one.name}  {one.problem or 'complete'}")
        newest_is_complete = newest_is_complete and not (index == 0 and one.problem)
    return EXIT_DONE if newest_is_complete else EXIT_USER
