"""`ptm runs`: the runs of a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptm.cli.console import print_result
from ptm.errors import EXIT_DONE

NAME = "runs"
HELP = "list the runs of a folder"
ORDER = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dir",
        metavar="DIR",
        nargs="?",
        default="runs",
        type=Path,
        help="folder of runs (default runs)",
    )


def run(parsed: argparse.Namespace) -> int:
    from ptm.runs.history import runs

    for line in runs(parsed.dir):
        print_result(line)
    return EXIT_DONE
