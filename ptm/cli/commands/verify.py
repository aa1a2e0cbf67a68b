"""`ptm verify`: checks the checkpoints of a run, or token stores, against their checksums."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptm.cli.console import print_result
from ptm.errors import EXIT_DONE, EXIT_USER

NAME = "verify"
HELP = "check all checkpoints of a run, or a token store, against their checksums"
ORDER = 150


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path",
        metavar="RUN|STORE",
        type=Path,
        help="a run, a token store, or the stores of a mixture",
    )


def run(parsed: argparse.Namespace) -> int:
    """Exit with 2 if the newest checkpoint, or a store, is damaged."""
    from ptm.runs.verify import verify

    code = EXIT_DONE
    for one in verify(parsed.path):
        print_result(f"{one.name}  {one.problem or 'complete'}")
        if one.problem and one.is_required:
            code = EXIT_USER
    return code
