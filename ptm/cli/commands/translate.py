"""`ptm translate`: a recipe from the command lines of other tools."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ptm.cli.arguments import add_json
from ptm.cli.console import print_result_block
from ptm.errors import EXIT_DONE, UserError
from ptm.files.user_files import read_text

if TYPE_CHECKING:
    from ptm.translate.steps import TranslatedRecipe, Translation

NAME = "translate"
HELP = "write the recipe of command lines of UER-py, TencentPretrain or Hugging Face's scripts"
ORDER = 7

_DEFAULT_PATH = "recipe.yaml"
_LONGEST_PATH = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "lines",
        metavar="LINES",
        help="the command lines as one argument, a file with them, or - for stdin",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="write the recipe; a second one is FILE-2, a hostfile has the suffix .hostfile",
    )
    add_json(parser, "print one JSON object")


def run(parsed: argparse.Namespace) -> int:
    from ptm.translate.translate import translate

    out: Path | None = parsed.out
    translation = translate(_text(parsed.lines), recipe_path=str(out or _DEFAULT_PATH))
    if not translation.recipes and not translation.commands:
        notes = "; ".join(f"{written}: {reason}" for written, reason in translation.notes)
        raise UserError(f"nothing was translated: {notes}.")
    if out is not None:
        _write(translation)
    if parsed.json:
        print_result_block(json.dumps(_object(translation), ensure_ascii=False, indent=2))
    else:
        print_result_block(_page(translation, with_recipes=out is None), end="")
    return EXIT_DONE


def _text(lines: str) -> str:
    """The text of LINES. Raises UserError if it is blank, or a file that is not UTF-8 text."""
    if lines == "-":
        try:
            return sys.stdin.read().removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise UserError(f"stdin: not valid UTF-8 at byte {error.start}.") from error
    if not lines.strip():
        raise UserError(
            "no command lines are given. Give them in quotes, in a file, or with - from stdin."
        )
    # One word is a file; with a space, it is a file only if one of that name exists.
    if {"\n", "\0"} & set(lines) or len(lines) > _LONGEST_PATH:
        return lines
    if " " in lines and not _is_file(lines):
        return lines
    if not Path(lines).exists():
        raise UserError(
            f"{lines}: cannot be read: no such file. Give command lines in quotes, or a file with "
            "them."
        )
    return read_text(lines)


def _is_file(name: str) -> bool:
    """Whether `name` is that of a file. A command line may be longer than names can be."""
    try:
        return Path(name).is_file()
    except OSError:
        return False


def _write(translation: Translation) -> None:
    """Write all files, each whole or not at all. Raises UserError if one exists already."""
    from ptm.files.writing import write_file

    files = dict(pair for recipe in translation.recipes for pair in _files(recipe))
    if not files:
        raise UserError("--out: the command lines train nothing, so there is no recipe to write.")
    for path in files:
        if path.exists():
            raise UserError(f"{path}: already exists. Give another name or remove it.")
        if not path.parent.is_dir():
            raise UserError(f"{path}: cannot be written: {path.parent} is not a folder.")
    for path, text in files.items():
        try:
            write_file(path, text)
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}.") from error


def _files(recipe: TranslatedRecipe) -> list[tuple[Path, str]]:
    """Path and text of a recipe and of its hostfile."""
    files = [(Path(recipe.path), recipe.draft.yaml())]
    if recipe.hostfile is not None and recipe.hostfile_text is not None:
        files.append((Path(recipe.hostfile), recipe.hostfile_text))
    return files


def _page(translation: Translation, *, with_recipes: bool) -> str:
    """Recipes, commands and options without counterpart, for a reader."""
    files = [pair for recipe in translation.recipes for pair in _files(recipe)]
    parts = [
        f"# {path}\n{text}" if with_recipes else f"# {path}: written\n" for path, text in files
    ]
    commands = "".join(f"{command}\n" for command in translation.commands)
    if commands:
        parts.append(f"# Commands\n{commands}")
    notes = "".join(f"# {written}: {reason}.\n" for written, reason in translation.notes)
    parts.append(f"# No counterpart\n{notes}" if notes else "# Every option has a counterpart.\n")
    return "\n".join(parts)


def _object(translation: Translation) -> dict[str, object]:
    """The same as JSON."""
    return {
        "recipes": [
            {
                "path": recipe.path,
                "recipe": recipe.draft.data,
                "hostfile": recipe.hostfile,
                "hosts": recipe.hostfile_text,
            }
            for recipe in translation.recipes
        ],
        "commands": translation.commands,
        "no_counterpart": [
            {"option": written, "reason": reason} for written, reason in translation.notes
        ],
    }
