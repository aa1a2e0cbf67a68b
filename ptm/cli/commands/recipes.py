"""`ptm recipes`: the recipes that come with ptm, listed or copied."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptm.cli.console import print_done, print_rendered
from ptm.errors import EXIT_DONE, UserError

NAME = "recipes"
HELP = "list the recipes that come with ptm, or copy them here"
ORDER = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="a recipe such as bert/tiny, or a folder such as finetune; with --copy also "
        "ds_configs, launch and hostfile.example (required with --copy; the list has all recipes "
        "by default)",
    )
    parser.add_argument(
        "--copy", action="store_true", help="copy them, with the files that they need"
    )
    parser.add_argument(
        "--to",
        metavar="DIR",
        type=Path,
        help="with --copy: the folder in which recipes/ is made (default: the current one)",
    )


def run(parsed: argparse.Namespace) -> int:
    from ptm.runs.recipe_files import bundled_recipes, copy_bundled

    if parsed.to is not None and not parsed.copy:
        raise UserError("--to is for --copy.")
    if parsed.copy:
        if not parsed.names:
            raise UserError("recipes --copy: name what to copy, such as quickstart or bert/tiny.")
        written = copy_bundled(parsed.names, parsed.to or Path())
        for path in written:
            print_done(str(path))
        if not written:
            print_done("all files are there already")
        return EXIT_DONE
    from ptm.cli.tables import Cell, rendered, table

    rows = [(one.name, Cell(one.summary, "dim")) for one in bundled_recipes(parsed.names)]
    print_rendered(rendered(table(["RECIPE", "SUMMARY"], rows)))
    return EXIT_DONE
