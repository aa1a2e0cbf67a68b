"""`ptm runs`: the runs of a folder and their progress."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ptm.checkpoint.format import checkpoint_folders
from ptm.errors import UserError
from ptm.recipe.saved_files import read_metrics, read_recipe_data


def runs(folder: Path) -> Iterator[str]:
    """One line per run, the newest last. Raises UserError if `folder` is not a folder."""
    if not folder.is_dir():
        raise UserError(f'"{folder}" is not a folder of runs.')
    found = sorted(folder.glob("*/recipe.yaml"), key=lambda path: path.stat().st_mtime)
    if not found:
        yield f"{folder}: no runs"
    for recipe_path in found:
        run = recipe_path.parent
        try:
            steps = read_recipe_data(recipe_path)["train"]["steps"] or "?"
        except (UserError, KeyError, TypeError) as error:
            yield f"{run} · damaged ({error})"
            continue
        records = read_metrics(run)
        newest = checkpoint_folders(run / "checkpoints")
        saved = newest[0].name.removeprefix("global_step") if newest else "none"
        parts = [
            f"{run}",
            f"step {records[-1]['step'] if records else 0}/{steps}",
            f"saved {saved}",
        ]
        for split in dict.fromkeys(record["split"] for record in records):
            last = next((r for r in reversed(records) if r["split"] == split), None)
            if last is not None and last["loss"] is not None:
                parts.append(f"{split} loss {last['loss']:.4f}")
        yield " · ".join(parts)
