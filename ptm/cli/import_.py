"""`ptm import`: others' weights become a source."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptm.errors import EXIT_DONE

NAME = "import"
HELP = "turn others' weights into something init_from can load"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    parser.add_argument("source", metavar="SOURCE", help="a folder of theirs")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to write")
    parser.add_argument(
        "--from", dest="origin", choices=("hf",), required=True, help="whose format"
    )


def run(parsed: argparse.Namespace) -> int:
    """Run it; return the exit code."""
    from ptm.interop.importing import import_from_huggingface

    parameters = import_from_huggingface(parsed.source, parsed.out)
    print(f"{parsed.out}: {parameters:,} parameters from {parsed.source}")
    return EXIT_DONE
