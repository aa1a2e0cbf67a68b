"""The files that a recipe names, and errors about them that name the recipe's line and a fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ptm.errors import UserError
from ptm.recipe.blocks import Recipe
from ptm.recipe.model_recipe import DataRecipe

_READERS = ("tokenizer", "target_tokenizer", "objective", "data.segmenter")
OF_TRAINING = ("tokenizer", "target_tokenizer", "objective")
"""The blocks whose files a training reads."""
OF_PREPROCESSING = ("tokenizer", "target_tokenizer", "data.segmenter")


def missing_files(recipe: DataRecipe, blocks: tuple[str, ...] = _READERS) -> Iterator[str]:
    """A sentence for each missing file of `blocks`, with its place, key and path, and a fix."""
    readers = {
        "tokenizer": recipe.tokenizer,
        "target_tokenizer": recipe.target_tokenizer,
        "objective": recipe.objective,
        "data.segmenter": recipe.data.segmenter,
    }
    for block in blocks:
        reader = readers[block]
        for field, file in reader.input_files.items() if reader else ():
            if not Path(file).is_file():
                yield _sentence(
                    recipe, f"{block}.{field}", f'"{file}" is not a file{_below(file)}.'
                )


def check_files(recipe: DataRecipe, blocks: tuple[str, ...]) -> None:
    """Raise UserError with a line for each file of `blocks` that is missing."""
    missing = list(missing_files(recipe, blocks))
    if missing:
        raise UserError(*missing)


@contextmanager
def naming(recipe: DataRecipe, key: str) -> Iterator[None]:
    """Add the recipe's line and the dotted `key` to a UserError about the path at `key`.

    An error that begins with the quoted path or with `key`, or that names no such run, is that of a
    path which is missing. It also gets a fix.
    """
    try:
        yield
    except UserError as error:
        what = str(error)
        if what.startswith((f"{key}: ", '"')) or "no such " in what:
            raise UserError(_sentence(recipe, key, what.removeprefix(f"{key}: "))) from error
        raise UserError(f"{_place(recipe, key)}{key}: {what}") from error


def _sentence(recipe: DataRecipe, key: str, what: str) -> str:
    value = "[PATH]" if key.endswith("teachers") else "PATH"
    return f"{_place(recipe, key)}{key}: {what} Give another path with {key}={value}."


def _place(recipe: DataRecipe, key: str) -> str:
    return recipe.origin.place_of(key) if isinstance(recipe, Recipe) else ""


def start_key(recipe: Recipe) -> str:
    """The dotted key of the path that training starts from."""
    return "init_from" if isinstance(recipe.init_from, str) else "init_from.source"


def teacher_key(recipe: DataRecipe) -> str:
    """The dotted key of the paths of the teachers."""
    one = getattr(recipe.objective, "teacher", None)
    return "objective.teacher" if one is not None else "objective.teachers"


def _below(file: str) -> str:
    """The folder that a relative path is relative to, in brackets."""
    return "" if Path(file).is_absolute() else f" (current directory: {Path.cwd()})"
