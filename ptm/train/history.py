"""`ptm runs`: what ran, and how far it came."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptm.errors import UserError
from ptm.interop.source import read_recipe_data
from ptm.model.checkpoint import checkpoint_folders


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The reports of a run; a line that a kill tore is left out."""
    path = run / "metrics.jsonl"
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def runs(folder: Path) -> Iterator[str]:
    """A line a run, the newest last. Raises UserError where `folder` is none."""
    if not folder.is_dir():
        raise UserError(f'"{folder}" is not a folder of runs.')
    found = sorted(folder.glob("*/recipe.yaml"), key=lambda path: path.stat().st_mtime)
    if not found:
        yield f"{folder}: no runs"
    for recipe_path in found:
        run = recipe_path.parent
        recipe = read_recipe_data(recipe_path)
        records = read_metrics(run)
        steps = recipe["train"]["steps"] or "?"
        newest = checkpoint_folders(run / "checkpoints")
        saved = newest[0].name.removeprefix("global_step") if newest else "none"
        parts = [
            f"{run}",
            f"step {records[-1]['step'] if records else 0}/{steps}",
            f"saved {saved}",
        ]
        for split in ("train", "eval"):
            last = next((r for r in reversed(records) if r["split"] == split), None)
            if last is not None and last["loss"] is not None:
                parts.append(f"{split} loss {last['loss']:.4f}")
        yield " · ".join(parts)
