"""`ptm profile`: the costliest operations of a run's profiled steps."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptm.cli.console import print_result
from ptm.errors import EXIT_DONE

NAME = "profile"
HELP = "print where the time of the profiled steps of a run went (recipe: train.profile)"
ORDER = 145


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a run")
    parser.add_argument(
        "--count",
        metavar="N",
        type=_count,
        default=10,
        help="number of operations (default 10)",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of operations, 1 or more")
    return int(text)


def run(parsed: argparse.Namespace) -> int:
    from ptm.runs.profile import describe_profile

    for line in describe_profile(parsed.run, count=parsed.count):
        print_result(line)
    return EXIT_DONE
