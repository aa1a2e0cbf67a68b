"""`ptm dashboard`: a W&B workspace and a report for the runs of a project."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ptm.cli.console import print_done, print_result, print_result_block
from ptm.errors import EXIT_DONE, UserError

NAME = "dashboard"
HELP = "make or update a W&B workspace and a report for the runs of a project"
ORDER = 155


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--project", metavar="P", required=True, help="the W&B project (tracking.wandb.project)"
    )
    parser.add_argument(
        "--entity",
        metavar="E",
        help="the W&B user or team (default: that of the account)",
    )
    parser.add_argument(
        "--sets",
        metavar="NAME",
        nargs="+",
        default=["eval"],
        help="the evaluation sets that are shown (default: eval)",
    )
    parser.add_argument(
        "--print",
        action="store_true",
        help="print the definition as JSON, also with --out; nothing is sent",
    )
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="write the definition to a file; nothing is sent"
    )


def run(parsed: argparse.Namespace) -> int:
    from ptm.recipe.data_block import SetName
    from ptm.recipe.tracking import WandbProject
    from ptm.runs.dashboard.definition import definition
    from ptm.runs.dashboard.publish import publish

    _check("--project", parsed.project, WandbProject)
    for name in parsed.sets:
        _check("--sets", name, SetName)
    if not parsed.print and parsed.out is None:
        for address in publish(parsed.project, parsed.entity, parsed.sets):
            print_result(address)
        return EXIT_DONE
    text = definition(parsed.entity or "", parsed.project, parsed.sets)
    if parsed.out is not None:
        # Before it is printed: the reader of standard output may end early, as `head` does.
        _write(parsed.out, text + "\n")
    if parsed.print:
        print_result_block(text)
    else:
        print_done(str(parsed.out))
    return EXIT_DONE


def _check(option: str, value: str, kind: Any) -> None:
    """Raise UserError if the value of an option is not one that a recipe accepts for `kind`."""
    from pydantic import TypeAdapter, ValidationError

    from ptm.validation import first_problem

    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise UserError(f'{option} "{value}": {first_problem(error)}.') from error


def _write(path: Path, text: str) -> None:
    from ptm.files.writing import write_file

    try:
        write_file(path, text)
    except OSError as error:
        raise UserError(f"--out {path}: cannot be written: {error.strerror or error}.") from error
