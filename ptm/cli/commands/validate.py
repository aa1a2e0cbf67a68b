"""`ptm validate`: everything that can be known before launch."""

from __future__ import annotations

import argparse

from ptm.cli.arguments import add_recipe, recipe_of
from ptm.errors import EXIT_DONE

NAME = "validate"
HELP = "check everything that can be known before launch"
ORDER = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    add_recipe(parser)
    parser.add_argument("--inputs", action="store_true", help="missing inputs are errors")


def run(parsed: argparse.Namespace) -> int:
    """Run it; return the exit code."""
    from ptm.recipe import recipe_yaml
    from ptm.train.validate import check_recipe

    recipe = recipe_of(parsed)
    missing = check_recipe(recipe, need_inputs=parsed.inputs)
    print(recipe_yaml(recipe), end="")
    for sentence in missing:
        print(f"# not here yet: {sentence}")
    print(f"# {parsed.recipe}: valid")
    return EXIT_DONE
