"""The recipes that come with ptm: listed, and copied to where they are edited."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ptm.errors import UserError, closest, nearest
from ptm.files.bundled import bundled_root

_RECIPES = "recipes"
_OTHERS = ("ds_configs", "launch", "hostfile.example")
"""What can be copied besides recipes."""
_END_OF_SENTENCE = re.compile(r"(?<!et al)\. ")


@dataclass(frozen=True)
class BundledRecipe:
    """A recipe that comes with ptm."""

    name: str
    """Its path below recipes/, without .yaml: `bert/tiny`."""
    path: Path
    summary: str
    """The first comment of the file."""


def bundled_recipes(names: Sequence[str] = ()) -> list[BundledRecipe]:
    """The recipes whose name is in `names` or begins with one of them and a slash, in order.

    Without `names`: all recipes.

    Raises UserError if the files are missing or a name is that of no recipe.
    """
    root = _root() / _RECIPES
    files = {path.relative_to(root).with_suffix("").as_posix(): path for path in _yaml_in(root)}
    chosen = [name for name in files if not names or any(_is_below(name, one) for one in names)]
    for one in names:
        if not any(_is_below(name, one) for name in files):
            close = closest(one, sorted(_names_of(files)))
            hint = nearest(one, [close] if close else {name.split("/")[0] for name in files})
            raise UserError(f'recipes: there is no "{one}".{hint}')
    return [BundledRecipe(name, files[name], _summary(files[name])) for name in chosen]


def copy_bundled(names: Sequence[str], folder: Path) -> list[Path]:
    """Copy recipes with the files beside them, or `ds_configs`, `launch`, `hostfile.example`.

    They keep their paths, such as `recipes/bert/tiny.yaml`, below `folder`. Returns the files that
    were written; a file that is there with the same content stays. Raises UserError, before
    anything is written, if one has other content.
    """
    root = _root()
    sources = sorted({path for name in names for path in _sources(root, name)})
    targets = [(source, folder / source.relative_to(root)) for source in sources]
    for source, target in targets:
        if target.exists() and target.read_bytes() != source.read_bytes():
            raise UserError(
                f"{target}: the file exists and differs from the one that comes with ptm. Rename "
                "it, or copy to another folder with --to."
            )
    written = []
    for source, target in targets:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            written.append(target)
    return written


def _root() -> Path:
    root = bundled_root()
    if root is None:
        raise UserError("recipes: the files that come with ptm were not installed or were removed.")
    return root


def _yaml_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.yaml"))


def _is_below(name: str, wanted: str) -> bool:
    wanted = wanted.removeprefix(f"{_RECIPES}/").removesuffix(".yaml").rstrip("/")
    return name == wanted or name.startswith(f"{wanted}/")


def _names_of(files: dict[str, Path]) -> set[str]:
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    return set(files) | folders - {"."}


def _sources(root: Path, name: str) -> Iterator[Path]:
    """The files of one name: of a recipe, also those of its folder that are not recipes."""
    if name in _OTHERS:
        path = root / name
        yield from [path] if path.is_file() else (one for one in path.rglob("*.*") if one.is_file())
        return
    for recipe in bundled_recipes([name]):
        yield recipe.path
        for beside in recipe.path.parent.rglob("*.*"):
            if beside.is_file() and beside.suffix not in (".yaml", ".pyc"):
                yield beside


def _summary(path: Path) -> str:
    """The first comment, up to the end of its first sentence."""
    words = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        words.append(line.lstrip("# ").strip())
    text = " ".join(words)
    return _END_OF_SENTENCE.split(text)[0].rstrip(".")
