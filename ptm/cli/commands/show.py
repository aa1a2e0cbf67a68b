"""`ptm show`: the size of a training and its first rows."""

from __future__ import annotations

import argparse

from ptm.cli.arguments import add_recipe, recipe_of
from ptm.cli.console import print_result_block
from ptm.errors import EXIT_DONE

NAME = "show"
HELP = "print steps, parameters, batch arithmetic and the DeepSpeed config"
ORDER = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser)
    parser.add_argument(
        "--batch",
        action="store_true",
        help="also print the first rows of the training data, decoded",
    )


def run(parsed: argparse.Namespace) -> int:
    from ptm.runs.show import show

    for line in show(recipe_of(parsed), batch=parsed.batch):
        print_result_block(line)
    return EXIT_DONE
