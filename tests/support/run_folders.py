"""Run folders as a training leaves them, written without a training."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptm.recipe import load_recipe, recipe_yaml
from tests.support.small_runs import QUICKSTART


def write_run(
    folder: Path, *overrides: str, records: Sequence[Mapping[str, Any]] = (), log: str = ""
) -> Path:
    """A run of the quickstart's recipe, with its reports and log."""
    folder.mkdir(parents=True)
    recipe = load_recipe(str(QUICKSTART / "roberta-tiny.yaml"), [f"name={folder.name}", *overrides])
    (folder / "recipe.yaml").write_text(recipe_yaml(recipe), encoding="utf-8")
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "metrics.jsonl").write_text(lines, encoding="utf-8")
    (folder / "train.log").write_text(log, encoding="utf-8")
    return folder


def write_rank(run: Path, rank: int, **fields: Any) -> None:
    """The status file of a rank; by default one that this process runs."""
    (run / "ranks").mkdir(exist_ok=True)
    status = {
        "rank": rank,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "launch": None,
        "time": time.time(),
        "phase": "training",
        "step": 5,
        **fields,
    }
    path = run / "ranks" / f"rank{rank:05d}.json"
    path.write_text(json.dumps(status), encoding="utf-8")
