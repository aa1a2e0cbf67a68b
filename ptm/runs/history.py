"""`ptm runs`: the runs of a folder and their progress."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ptm.checkpoint.format import checkpoint_folders, step_of
from ptm.errors import UserError
from ptm.recipe.saved_files import RECIPE, read_metrics, read_recipe_data


def runs(folder: Path) -> Iterator[str]:
    """One line per run, the newest last. Raises UserError if `folder` is not a folder."""
    if not folder.is_dir():
        raise UserError(f'"{folder}" is not a folder of runs.')
    # A damaged run may have a dangling link in place of its recipe.
    recipes = [path / RECIPE for path in folder.iterdir() if os.path.lexists(path / RECIPE)]
    found = sorted(recipes, key=lambda path: path.lstat().st_mtime)
    if not found:
        yield f"{folder}: no runs"
    for recipe_path in found:
        yield _line(recipe_path.parent)


def _line(run: Path) -> str:
    """The line of one run. A damaged run has a line that names the damage."""
    try:
        steps = read_recipe_data(run / RECIPE)["train"]["steps"] or "?"
        records = read_metrics(run)
    except (UserError, KeyError, TypeError) as error:
        return f"{run} · damaged ({error})"
    newest = checkpoint_folders(run / "checkpoints")
    parts = [
        f"{run}",
        f"step {records[-1]['step'] if records else 0}/{steps}",
        f"saved {step_of(newest[0]) if newest else 'none'}",
    ]
    last = {record["split"]: record["loss"] for record in records}
    parts += [f"{split} loss {loss:.4f}" for split, loss in last.items() if loss is not None]
    return " · ".join(parts)
