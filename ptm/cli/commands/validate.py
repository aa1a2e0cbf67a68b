"""`ptm validate`: checks a recipe and the files that it names."""

from __future__ import annotations

import argparse

from ptm.cli.arguments import add_recipe, recipe_of
from ptm.cli.console import print_result_block, print_sentence
from ptm.errors import EXIT_DONE

NAME = "validate"
HELP = "check a recipe and everything it names"
ORDER = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser)
    parser.add_argument(
        "--inputs",
        action="store_true",
        help="report missing inputs as errors, and verify stores as `ptm train` does",
    )
    parser.add_argument(
        "--print", action="store_true", help="also print the whole recipe, with all defaults"
    )


def run(parsed: argparse.Namespace) -> int:
    from ptm.recipe import recipe_yaml
    from ptm.train.validate import check_recipe

    recipe = recipe_of(parsed)
    verdict = check_recipe(recipe, need_inputs=parsed.inputs)
    how_far = " as far as it could be checked on this machine" if verdict.unchecked else ""
    lines = [f"{parsed.recipe}: valid{how_far}"]
    lines += [f"source {source}" for source in verdict.sources]
    lines += [f"not checked: {sentence}" for sentence in verdict.unchecked]
    if verdict.obstacle is not None:
        lines.append(f"`ptm train` would not start now: {verdict.obstacle}")
    for line in lines:
        # As comments, so that the whole output is a recipe.
        print_sentence(line, prefix="# " if parsed.print else "")
    if parsed.print:
        print_result_block(recipe_yaml(recipe), end="")
    return EXIT_DONE
