"""Read back the records of W&B and TensorBoard, and compute the expected ones.

W&B's offline runs are read with `wandb leet inspect`, as W&B 0.31 has no reader in Python.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    EventAccumulator as ServedEvents,
)
from tensorboard.util import tensor_util

from ptm.recipe import Recipe
from ptm.train.trackers import tracker_values

WITH_WANDB = "tracking.wandb={project: test}"
WITHOUT_SAMPLES = "tracking.samples=0"
"""For runs that are sent: the tests' server takes no artifacts, and a table is one."""
BOTH = ("tracking.tensorboard=true", WITH_WANDB)
RECORD = {"step": 10, "split": "train", "loss": 2.5, "tokens_per_second": 100.0, "tokens": 7}
WANDB = str(Path(sys.executable).with_name("wandb"))


def reports(folder: Path) -> list[dict[str, Any]]:
    """The records of metrics.jsonl, with the timings, which trackers get as well."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each scalar in TensorBoard's reader, which equals that of its server."""
    place = str(folder / "tensorboard")
    events = EventAccumulator(place, size_guidance={"scalars": 0})
    served = ServedEvents(place, size_guidance={"tensors": 0})
    events.Reload()
    served.Reload()
    found = {
        tag: [(point.step, point.value) for point in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
    np.testing.assert_equal(
        {
            tag: [
                (point.step, float(tensor_util.make_ndarray(point.tensor_proto)))
                for point in served.Tensors(tag)
            ]
            for tag in served.Tags()["tensors"]
            if not tag.endswith("/text_summary")
        },
        found,
    )
    return found


def expected_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    expected: dict[str, list[tuple[int, float]]] = {}
    for record in reports(folder):
        for name, value in tracker_values(record).items():
            expected.setdefault(name, []).append((record["step"], float(np.float32(value))))
    return expected


def offline_run(folder: Path) -> Path:
    """The folder of the one offline run."""
    (only,) = (folder / "wandb").glob("offline-run-*")
    return only


def inspected(folder: Path) -> list[dict[str, Any]]:
    """The records of the offline run, as W&B reads them."""
    command = [WANDB, "leet", "inspect", "--json", str(offline_run(folder))]
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def history(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the history, without tables of samples."""
    rows = without_clock(r["history"]["item"] for r in records if r["type"] == "history")
    return [{k: v for k, v in row.items() if not k.startswith("samples/")} for row in rows]


def without_clock(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    clock = {"_runtime", "_timestamp"}
    return [{key: value for key, value in row.items() if key not in clock} for row in rows]


def expected_history(folder: Path) -> list[dict[str, Any]]:
    """One row per step, with the values of training and evaluation together."""
    rows: dict[int, dict[str, Any]] = {}
    for record in reports(folder):
        step = record["step"]
        values = {
            name: "NaN" if value != value else value
            for name, value in tracker_values(record).items()
        }
        rows.setdefault(step, {"step": step, "_step": step}).update(values)
    return list(rows.values())


def run_id(folder: Path) -> str:
    return str(json.loads((folder / "wandb_run.json").read_text())["id"])


def wait_for_the_next_second(folder: Path) -> None:
    """Event files are ordered by the second in their names; real starts are further apart."""
    if any(folder.glob("tensorboard/*")):
        time.sleep(1 - time.time() % 1)


def split(arguments: list[str]) -> tuple[str, list[str]]:
    return arguments[0], arguments[1:]


def quick(recipe: Recipe) -> Recipe:
    tracking = recipe.tracking.model_copy(update={"tensorboard": False})
    return recipe.model_copy(update={"tracking": tracking})
