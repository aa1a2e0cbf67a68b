"""Arguments that several commands have in common."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ptm.errors import UserError
from ptm.files.user_files import read_lines

if TYPE_CHECKING:
    from ptm.recipe import Recipe


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add RECIPE and KEY=VALUE."""
    parser.add_argument("recipe", metavar="RECIPE", help="the recipe, a YAML file")
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add KEY=VALUE."""
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        help="overrides of the recipe, e.g. train.steps=200; values are YAML, and the last one of "
        "a key counts",
    )


def add_fresh(parser: argparse.ArgumentParser) -> None:
    """Add --fresh of a training."""
    parser.add_argument(
        "--fresh", action="store_true", help="rename an existing run and start from scratch"
    )


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add --quiet."""
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print only results, warnings and errors"
    )


def add_verify(parser: argparse.ArgumentParser) -> None:
    """Add --verify of a training."""
    parser.add_argument(
        "--verify",
        action="store_true",
        help="verify the checksums of stores over 1 GB whole, instead of 1 GB of each",
    )


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add SOURCE."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a run, an export, an import, a transformers folder or a Hub id",
    )


def add_json(parser: argparse.ArgumentParser, text: str) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help=text)


def texts_of(parsed: argparse.Namespace, *, action: str) -> tuple[list[str], list[str]]:
    """The texts of TEXT and --file, and the place of each for messages.

    `action` names what the command does with them. Raises UserError if no text is given, and for a
    file that cannot be read as UTF-8.
    """
    from ptm.inference.text_batches import quoted

    texts, places = list(parsed.text), [quoted(text) for text in parsed.text]
    file: Path | None = parsed.file
    if file is not None:
        lines = read_lines(file)
        if not lines:
            raise UserError(f"{file}: the file is empty. Write one text per line.")
        texts += lines
        places += [f"{file}:{number}" for number in range(1, len(lines) + 1)]
    if not texts:
        raise UserError(f"no text to {action} is given. Give TEXT or --file FILE.")
    return texts, places


def add_step(parser: argparse.ArgumentParser) -> None:
    """Add --step of a run."""
    parser.add_argument(
        "--step",
        type=_step,
        help="of a run: the step of a checkpoint, or best (default: the newest)",
    )


def _step(text: str) -> int | str:
    return text if text == "best" else int(text)


def recipe_of(parsed: argparse.Namespace) -> Recipe:
    """The recipe of the command line, with its overrides."""
    from ptm.recipe import load_recipe

    return load_recipe(parsed.recipe, parsed.overrides)
