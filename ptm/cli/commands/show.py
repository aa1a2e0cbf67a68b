"""`ptm show`: the plan of a training, and what its first rows look like."""

from __future__ import annotations

import argparse

from ptm.cli.arguments import add_recipe, recipe_of
from ptm.errors import EXIT_DONE

NAME = "show"
HELP = "steps, parameters, batch arithmetic, DeepSpeed's config"
ORDER = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    add_recipe(parser)
    parser.add_argument(
        "--batch", action="store_true", help="decode the first rows of the training"
    )


def run(parsed: argparse.Namespace) -> int:
    """Run it; return the exit code."""
    from ptm.runs.show import show

    for line in show(recipe_of(parsed), batch=parsed.batch):
        print(line)
    return EXIT_DONE
