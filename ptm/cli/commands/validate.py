"""`ptm validate`: checks a recipe and the files that it names."""

from __future__ import annotations

import argparse

from ptm.cli.arguments import add_recipe, recipe_of
from ptm.cli.console import print_result, print_result_block
from ptm.errors import EXIT_DONE

NAME = "validate"
HELP = "check a recipe and everything it names, and print it with all defaults"
ORDER = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser)
    parser.add_argument(
        "--inputs",
        action="store_true",
        help="report missing inputs as errors, and verify stores as `ptm train` does",
    )


def run(parsed: argparse.Namespace) -> int:
    from ptm.recipe import recipe_yaml
    from ptm.train.validate import check_recipe

    recipe = recipe_of(parsed)
    verdict = check_recipe(recipe, need_inputs=parsed.inputs)
    print_result_block(recipe_yaml(recipe), end="")
    for source in verdict.sources:
        print_result(f"# source {source}")
    for sentence in verdict.unchecked:
        print_result(f"# not checked: {sentence}")
    if verdict.obstacle is not None:
        print_result(f"# `ptm train` would not start now: {verdict.obstacle}")
    if verdict.unchecked:
        print_result(f"# {parsed.recipe}: valid as far as it could be checked on this machine")
    else:
        print_result(f"# {parsed.recipe}: valid")
    return EXIT_DONE
