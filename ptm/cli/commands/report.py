"""`ptm report`: an HTML page with the curves of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptm.cli.console import print_done
from ptm.errors import EXIT_DONE

NAME = "report"
HELP = "write an HTML page with the curves of a run"
ORDER = 150


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="a run")


def run(parsed: argparse.Namespace) -> int:
    from ptm.runs.report import write_report

    print_done(str(write_report(parsed.run)))
    return EXIT_DONE
