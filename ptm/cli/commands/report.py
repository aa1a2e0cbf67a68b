"""`ptm report`: a page with a run's curves."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptm.errors import EXIT_DONE

NAME = "report"
HELP = "write a page with a run's curves"
ORDER = 150


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    parser.add_argument("run", metavar="RUN", type=Path)


def run(parsed: argparse.Namespace) -> int:
    """Run it; return the exit code."""
    from ptm.runs.report import write_report

    print(write_report(parsed.run))
    return EXIT_DONE
