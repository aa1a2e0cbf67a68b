"""`ptm show`: the size of a training and its first rows."""

from __future__ import annotations

import argparse

from ptm.cli.arguments import add_recipe, recipe_of
from ptm.cli.console import print_result_block, print_sentence
from ptm.errors import EXIT_DONE

NAME = "show"
HELP = "print steps, parameters, batch arithmetic and the DeepSpeed config"
ORDER = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser)
    parser.add_argument(
        "--batch",
        action="store_true",
        help="print the first rows of the training data, decoded, and nothing else",
    )


def run(parsed: argparse.Namespace) -> int:
    from ptm.runs.show import show, show_rows

    recipe = recipe_of(parsed)
    for line in show_rows(recipe) if parsed.batch else show(recipe):
        # Only DeepSpeed's config has several lines.
        printed = print_result_block if "\n" in line else print_sentence
        printed(line)
    return EXIT_DONE
