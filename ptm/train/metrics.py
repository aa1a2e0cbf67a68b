"""Step metrics averaged between reports, throughput, metrics.jsonl and console lines."""

from __future__ import annotations

import json
import math
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ptm.console.wrapping import SEPARATOR
from ptm.durations import clock
from ptm.engines.base import StepResult
from ptm.engines.ranks import Ranks, all_reduce_sum
from ptm.train.line_file import LineFile
from ptm.train.utilisation import Flops, StepFlops


class MetricWindow:
    """Sums of the step metrics since the last report.

    Each rank adds up its local metrics on the device; a report reduces them over all ranks. The
    sums are saved in checkpoints, so that a run resumed between two reports reports the same means.
    The gradient norm is averaged over steps that were not skipped, every other metric over the
    steps that measured it.
    """

    def __init__(self, ranks: Ranks, state: Mapping[str, Any] | None = None) -> None:
        self._ranks = ranks
        # Saved sums are already reduced over ranks, so rank 0 alone takes them back.
        self._sums: dict[str, torch.Tensor] = {
            name: torch.tensor(value if ranks.is_main else 0.0, dtype=torch.float64)
            for name, value in (state["sums"] if state else {}).items()
        }
        self._steps: int = state["steps"] if state else 0
        self._skipped: int = state["skipped"] if state else 0
        # Number of steps that did not measure a metric, by name.
        self._unmeasured: Counter[str] = Counter(state["unmeasured"] if state else {})

    def add(self, result: StepResult) -> None:
        """Add one step."""
        for name, value in result.local_metrics.items():
            value = value.detach().double()
            self._sums[name] = self._sums[name].to(value.device) + value if self._steps else value
        self._steps += 1
        self._skipped += result.skipped
        self._unmeasured.update(result.unmeasured)

    def _over_ranks(self) -> dict[str, float]:
        return all_reduce_sum(
            {name: float(total) for name, total in self._sums.items()}, self._ranks
        )

    def means(self) -> dict[str, float | None]:
        """Mean of every metric over the steps that measured it, over all ranks. Collective.

        None if no step of the window did. The mean of `grad_norm` is over the steps that were not
        skipped.
        """
        left_out = {**self._unmeasured, "grad_norm": self._skipped}
        return {
            name: total / count if (count := self._steps - left_out.get(name, 0)) else None
            for name, total in self._over_ranks().items()
        }

    def state(self) -> dict[str, Any]:
        """State for the checkpoint. Collective."""
        return {
            "sums": self._over_ranks(),
            "steps": self._steps,
            "skipped": self._skipped,
            "unmeasured": dict(self._unmeasured),
        }


class Throughput:
    """Throughput since the last report. Not saved in checkpoints."""

    def __init__(self, utilisation: StepFlops) -> None:
        self._utilisation = utilisation
        self.restart()

    def restart(self) -> None:
        """Start a new measurement."""
        self._began = time.perf_counter()
        self._steps = self._tokens = self._examples = 0
        self._flops = Flops()
        self._paused = self._saving = 0.0

    def add(self, *, tokens: int, examples: int, flops: Flops) -> None:
        """Count one step, with the tokens, examples and operations of all ranks."""
        self._steps += 1
        self._flops += flops
        self._tokens += tokens
        self._examples += examples

    def pause(self, seconds: float) -> None:
        """Exclude time not spent training, such as evaluation."""
        self._paused += seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time of a block."""
        began = time.perf_counter()
        yield
        self.pause(time.perf_counter() - began)

    def saved(self, seconds: float) -> None:
        """Exclude and record time for which saving blocked training."""
        self._paused += seconds
        self._saving += seconds

    def rates(self, *, waited: float) -> dict[str, float]:
        """Rates of the whole job, and means per step. `waited`: seconds spent waiting for data."""
        seconds = max(1e-9, time.perf_counter() - self._began - self._paused)
        return {
            "tokens_per_second": round(self._tokens / seconds, 1),
            "examples_per_second": round(self._examples / seconds, 1),
            **self._utilisation.rates(self._flops, seconds=seconds),
            "step_seconds": round(seconds / max(1, self._steps), 6),
            "data_wait_seconds": round(waited / max(1, self._steps), 6),
            "save_seconds": round(self._saving, 6),
        }


def peak_memory(device: torch.device) -> int:
    """Peak memory of this process in bytes: GPU memory if `device` is a GPU, else resident."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def finite(record: Mapping[str, Any]) -> dict[str, Any]:
    """`record` with null for NaN and infinities, which JSON cannot represent."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in record.items()
    }


class MetricsFile:
    """`metrics.jsonl`: one line per report, written immediately."""

    def __init__(self, path: Path) -> None:
        self._file = LineFile(path)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one line. NaN and infinities become null, as JSON cannot represent them."""
        self._file.append(json.dumps(finite(record), allow_nan=False))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _number(value: float | None, digits: int) -> str:
    return "not measured" if value is None else f"{value:.{digits}f}"


def console_line(
    record: Mapping[str, Any],
    *,
    steps: int,
    higher: Callable[[str], bool],
    with_time_left: bool = True,
) -> str:
    """A report as one line of text: the loss, and metrics for which higher is better.

    `steps`: of the whole run. `higher`: whether a higher value of a metric is better.
    """
    parts = [f"step {record['step']}/{steps}"]
    if record["split"] != "train":
        parts.append(str(record["split"]))
    shown = ["loss", *(key for key in record if higher(key))]
    parts += [f"{key} {_number(record[key], 4)}" for key in shown]
    if "perplexity" in record:
        parts.append(f"perplexity {_number(record['perplexity'], 2)}")
    if "tokens_per_second" in record:
        parts.append(f"lr {record['learning_rate']:.2e}")
        parts.append(f"{record['tokens_per_second']:,.0f} tokens/s")
        if "mfu" in record:
            parts.append(f"MFU {100 * record['mfu']:.1f} %")
        if with_time_left:
            left = (steps - record["step"]) * record["step_seconds"]
            parts.append(f"ETA {clock(left)}")
    return SEPARATOR.join(parts)
