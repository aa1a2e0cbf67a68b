"""What a run tells: windows of steps become reports, for a file, the console and trackers."""

from __future__ import annotations

import json
import math
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ptm.durations import clock
from ptm.engines.base import StepResult
from ptm.engines.ranks import Ranks, summed


class Window:
    """Sums of what the steps since the last report measured.

    Each rank adds up its shares, on the device, until all ranks read them together. The sums
    belong to a checkpoint: a run that goes on in the middle of a window reports the same means.
    A skipped step has no gradient norm; all else is a mean over all steps.
    """

    def __init__(self, ranks: Ranks, state: Mapping[str, Any] | None = None) -> None:
        self._ranks = ranks
        # What was summed over all ranks is given back to one of them.
        self._sums: dict[str, torch.Tensor] = {
            name: torch.tensor(value if ranks.first else 0.0, dtype=torch.float64)
            for name, value in (state["sums"] if state else {}).items()
        }
        self._steps: int = state["steps"] if state else 0
        self._skipped: int = state["skipped"] if state else 0

    def add(self, result: StepResult) -> None:
        """Take in one step."""
        for name, value in result.shares.items():
            value = value.detach().double()
            self._sums[name] = self._sums[name].to(value.device) + value if self._steps else value
        self._steps += 1
        self._skipped += result.skipped

    def _over_ranks(self) -> dict[str, float]:
        return summed({name: float(total) for name, total in self._sums.items()}, self._ranks)

    def means(self) -> dict[str, float]:
        """The mean of every value over the window's steps; called by all ranks."""
        counts = {"grad_norm": max(1, self._steps - self._skipped)}
        return {
            name: total / counts.get(name, self._steps)
            for name, total in self._over_ranks().items()
        }

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps; called by all ranks."""
        return {"sums": self._over_ranks(), "steps": self._steps, "skipped": self._skipped}


class Speed:
    """Rates since the last report; they start anew with every start of the program."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin a new window."""
        self._began = time.perf_counter()
        self._steps = self._tokens = self._examples = 0
        self._paused = self._saving = 0.0

    def add(self, *, tokens: int, examples: int) -> None:
        """Count one step of the whole job."""
        self._steps += 1
        self._tokens += tokens
        self._examples += examples

    def pause(self, seconds: float) -> None:
        """Leave out time that was not training (evaluating, saving)."""
        self._paused += seconds

    def saved(self, seconds: float) -> None:
        """Leave out, and note, time for which saving held up the training."""
        self._paused += seconds
        self._saving += seconds

    def rates(self, *, waited: float) -> dict[str, float]:
        """Rates of the whole job, and means a step."""
        seconds = max(1e-9, time.perf_counter() - self._began - self._paused)
        return {
            "tokens_per_second": round(self._tokens / seconds, 1),
            "examples_per_second": round(self._examples / seconds, 1),
            "step_seconds": round(seconds / max(1, self._steps), 6),
            "data_wait_seconds": round(waited / max(1, self._steps), 6),
            "save_seconds": round(self._saving, 6),
        }


def peak_memory(device: torch.device) -> int:
    """Peak bytes of this process: of its GPU where it has one, else resident."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class MetricsFile:
    """`metrics.jsonl`, a line a report, there for others as soon as it is written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one line. NaN and infinities are null, as JSON has no word for them."""
        clean = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in record.items()
        }
        self._file.write(json.dumps(clean, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def console_line(record: Mapping[str, Any], *, steps: int, higher: Callable[[str], bool]) -> str:
    """One report as a person reads it; beside the loss stand metrics that are better `higher`."""
    parts = [f"step {record['step']}/{steps}"]
    if record["split"] != "train":
        parts.append(str(record["split"]))
    parts.append(f"loss {record['loss']:.4f}")
    parts += [f"{key} {value:.4f}" for key, value in record.items() if higher(key)]
    if "perplexity" in record:
        parts.append(f"perplexity {record['perplexity']:.2f}")
    if "tokens_per_second" in record:
        parts.append(f"lr {record['learning_rate']:.2e}")
        parts.append(f"{record['tokens_per_second']:,.0f} tokens/s")
        left = (steps - record["step"]) * record["step_seconds"]
        parts.append(f"ETA {clock(left)}")
    return " · ".join(parts)
