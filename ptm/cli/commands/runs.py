"""`ptm runs`: what ran."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptm.errors import EXIT_DONE

NAME = "runs"
HELP = "what ran"
ORDER = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    parser.add_argument("dir", metavar="DIR", nargs="?", default="runs", type=Path)


def run(parsed: argparse.Namespace) -> int:
    """Run it; return the exit code."""
    from ptm.runs.history import runs

    for line in runs(parsed.dir):
        print(line)
    return EXIT_DONE
