"""Names of models that were probably meant as folders of runs, and not as ids of the Hub."""

from __future__ import annotations

import difflib
from pathlib import Path

from ptm.errors import closest
from ptm.recipe.saved_files import RECIPE

RUNS = "runs"
"""The default of `runs_dir`."""
_ALMOST_EQUAL = 0.85
"""difflib's ratio; below it, the id of a model on the Hub is not taken for a misspelt run."""


def no_such_folder(path: str) -> str:
    """The error for a folder that does not exist. It names a folder beside it with a close name."""
    folder = Path(path)
    beside = _folders(folder.parent)
    close = closest(folder.name, [one.name for one in beside])
    is_run = len(folder.parts) > 1 and (folder.parts[0] == RUNS or any(map(_is_run, beside)))
    if not is_run and close is None:
        return (
            f'"{path}" is not a folder. A model is a run (runs/NAME), an export, an output folder '
            "of `ptm import` or a model id on the Hub."
        )
    what = "no such run" if is_run else "no such folder"
    if close is not None:
        hint = f'Did you mean "{folder.parent / close}"?'
    elif folder.parent.is_dir():
        hint = f"`ptm runs {folder.parent}` lists the runs."
    else:
        hint = f"The folder {folder.parent} does not exist."
    return f"{path}: {what}. {hint}"


def similar_run(name: str, *, runs: Path = Path(RUNS)) -> Path | None:
    """The run that was probably meant by `name`, NAME or OWNER/NAME; None if none is similar.

    `name` is that of a run without its folder, or has a misspelt folder (`rnus/quickstart`).
    """
    names = [one.name for one in _folders(runs) if _is_run(one)]
    *owner, own = name.split("/")
    if owner and difflib.SequenceMatcher(None, owner[0], runs.name).ratio() < 0.75:
        return None
    found = difflib.get_close_matches(own, names, n=1, cutoff=_ALMOST_EQUAL)
    return runs / found[0] if found else None


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(one for one in parent.iterdir() if one.is_dir())
    except OSError:
        return []


def _is_run(folder: Path) -> bool:
    return (folder / "checkpoints").is_dir() or (folder / RECIPE).is_file()
