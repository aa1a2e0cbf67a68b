"""Seconds to save, verify and load a checkpoint, printed as one JSON object.

deepspeed --num_gpus N benchmarks/save_and_load.py RECIPE [KEY=VALUE ...]

The recipe is trained from scratch and then resumed, in one process group. `held up`: total time for
which saves interrupted training; `written`: total time of writing the rank's fragments; `step`:
mean time of a step. Memory is the peak growth of the process: `saving` from the start of the first
save until training continues, `loading` while the checkpoint is loaded. Each figure is the maximum
over ranks.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import ptm.train.saving.resume
from ptm.engines.fragments import EngineState
from ptm.engines.ranks import all_gather, destroy_process_group, init_process_group
from ptm.recipe import load_recipe
from ptm.train.run import train
from ptm.train.saving.writer import CheckpointWriter, _PendingCheckpoint
from ptm.train.trainer import Trainer

spent: defaultdict[str, float] = defaultdict(float)
grown: dict[str, float] = {}


def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `work` so that its seconds are added to `spent[name]`."""

    def wrapped(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return work(*arguments, **options)
        finally:
            spent[name] += time.perf_counter() - began

    return wrapped


def memory(line: str) -> float:
    """MB in the line of /proc/self/status that begins with `line`."""
    with Path("/proc/self/status").open(encoding="ascii") as status:
        return next(int(words.split()[1]) for words in status if words.startswith(line)) / 1e3


def weighed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `work` so that `grown[name]` is the peak growth of the process in its first call."""

    def wrapped(*arguments: Any, **options: Any) -> Any:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = memory("VmRSS:")
        try:
            return work(*arguments, **options)
        finally:
            grown.setdefault(name, memory("VmHWM:") - before)

    return wrapped


def main(recipe: str, overrides: list[str]) -> int:
    CheckpointWriter.start = weighed("saving", timed("held up", CheckpointWriter.start))  # type: ignore[method-assign]
    CheckpointWriter.finish = timed("held up", CheckpointWriter.finish)  # type: ignore[method-assign]
    _PendingCheckpoint.write = timed("written", _PendingCheckpoint.write)  # type: ignore[method-assign]
    trained = timed("trained", Trainer._train_step)
    Trainer._train_step = trained  # type: ignore[method-assign]
    code = train(lambda: load_recipe(recipe, overrides), fresh=True)
    load = weighed("loading", timed("loaded", EngineState.write))
    EngineState.write = load  # type: ignore[method-assign]
    ptm.train.saving.resume.damage_of = timed("verified", ptm.train.saving.resume.damage_of)
    saves = dict(spent)
    steps = next(word.partition("=")[2] for word in overrides if word.startswith("train.steps="))
    longer = [*overrides, f"train.steps={int(steps) + 1}"]
    code = code or train(lambda: load_recipe(recipe, longer), fresh=False)
    ranks = init_process_group()
    saves["step"] = saves.pop("trained") / int(steps)
    figures = {**saves, "verified": spent["verified"], "loaded": spent["loaded"]}
    figures |= {f"{name}, MB": size for name, size in grown.items()}
    every = all_gather(figures, ranks)
    if ranks.is_main:
        largest = {name: round(max(row[name] for row in every), 2) for name in figures}
        print("SECONDS", json.dumps({"ranks": ranks.world_size, **largest}), flush=True)
    destroy_process_group()
    return code


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if not word.startswith("--local_rank")]
    sys.exit(main(words[0], words[1:]))
