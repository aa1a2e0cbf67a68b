"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ptm.errors import UserError

if TYPE_CHECKING:
    from ptm.recipe import Recipe


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """RECIPE and KEY=VALUE."""
    parser.add_argument("recipe", metavar="RECIPE", help="a YAML file")
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """KEY=VALUE alone."""
    parser.add_argument(
        "overrides", metavar="KEY=VALUE", nargs="*", help="e.g. train.steps=200, read as YAML"
    )


def add_fresh(parser: argparse.ArgumentParser) -> None:
    """--fresh of a training."""
    parser.add_argument("--fresh", action="store_true", help="set an old run aside and start anew")


def add_source(parser: argparse.ArgumentParser) -> None:
    """SOURCE."""
    parser.add_argument("source", metavar="SOURCE", help="a run, an export or an import")


def add_json(parser: argparse.ArgumentParser, text: str) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help=text)


def texts_of(parsed: argparse.Namespace, *, what: str) -> tuple[list[str], list[str]]:
    """The texts of TEXT and --file, and where each was written.

    Raises UserError where there are none (`what` should have been done with them), and for a file
    that is not text.
    """
    from ptm.inference.text_batches import quoted

    texts, places = list(parsed.text), [quoted(text) for text in parsed.text]
    file: Path | None = parsed.file
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        except OSError as error:
            raise UserError(f"{file}: cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{file}: is not UTF-8 text at byte {error.start}.") from error
        if lines == [""]:
            raise UserError(f"{file}: is empty; write a text a line.")
        texts += lines
        places += [f"{file}:{number}" for number in range(1, len(lines) + 1)]
    if not texts:
        raise UserError(f"there is nothing {what}: give a TEXT, or texts in a --file.")
    return texts, places


def refuse_twins(overrides: Iterable[str]) -> None:
    """Raise UserError where two KEY=VALUE have the same key: which was meant is not known."""
    first: dict[str, str] = {}
    for word in overrides:
        key = word.partition("=")[0]
        if key in first:
            raise UserError(f'{key} is given twice: "{first[key]}" and "{word}". Leave one out.')
        first[key] = word


def add_step(parser: argparse.ArgumentParser) -> None:
    """--step of a run."""
    parser.add_argument(
        "--step", type=_step, help="of a run: a checkpoint's step, or best (newest if left out)"
    )


def _step(text: str) -> int | str:
    return text if text == "best" else int(text)


def recipe_of(parsed: argparse.Namespace) -> Recipe:
    """The recipe that was named, with its overrides."""
    from ptm.recipe import load_recipe

    return load_recipe(parsed.recipe, parsed.overrides)
