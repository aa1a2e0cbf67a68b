"""Memory per rank during training and saving, printed as one JSON object.

deepspeed --num_gpus N benchmarks/rank_memory.py RECIPE [KEY=VALUE ...]

On CPUs this is the resident memory of each process; before each phase, the peak is reset and freed
blocks are returned to the system (which training itself does not do). On GPUs it is the memory that
torch has allocated. `before start` is the memory of a process before the model is built.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

import ptm.train.run
import ptm.train.trainer
from ptm.engines.ranks import all_gather_objects, destroy_process_group
from ptm.errors import EXIT_DONE
from ptm.recipe import load_recipe
from ptm.train.run import train
from ptm.train.saving.schedule import CheckpointManager

MEGABYTE = 1 << 20


def status(key: str) -> int:
    """A memory line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def now() -> int:
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else status("VmRSS")


def peak() -> int:
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else status("VmHWM")


def forget_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def measured(marks: dict[str, int], phase: str, work: Any) -> Any:
    """Wrap `work` so that `marks` records the memory before it and the peak during it."""

    def wrapped(*arguments: Any, **options: Any) -> Any:
        forget_peak()
        marks[f"before {phase}"] = now()
        try:
            return work(*arguments, **options)
        finally:
            marks[f"peak {phase}"] = peak()

    return wrapped


def main(recipe: str, overrides: list[str]) -> int:
    marks: dict[str, int] = {}
    all_marks: list[dict[str, int]] = []
    trainer = ptm.train.trainer.Trainer
    ptm.train.run._trainer = measured(marks, "start", ptm.train.run._trainer)
    trainer._train_step = measured(marks, "step", trainer._train_step)  # type: ignore[method-assign]
    save = measured(marks, "save", CheckpointManager.save)

    def save_and_gather(self: CheckpointManager, *arguments: Any, **options: Any) -> Any:
        saved = save(self, *arguments, **options)
        all_marks[:] = all_gather_objects(marks, self._writer._ranks)
        return saved

    CheckpointManager.save = save_and_gather  # type: ignore[method-assign]
    code = train(lambda: load_recipe(recipe, overrides), fresh=True)
    if os.environ.get("RANK", "0") == "0" and code == EXIT_DONE:
        largest = {key: max(one[key] for one in all_marks) // MEGABYTE for key in all_marks[0]}
        print("MEMORY", json.dumps({"ranks": len(all_marks), "megabytes": largest}), flush=True)
    destroy_process_group()
    return code


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if not word.startswith("--local_rank")]
    sys.exit(main(words[0], words[1:]))
