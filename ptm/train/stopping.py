"""Reasons to stop before the last step, and their exchange between ranks before each step."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ptm.engines.base import StepTotals
from ptm.engines.ranks import Ranks, all_gather
from ptm.errors import EXIT_FAULT, EXIT_INTERRUPTED, EXIT_STOPPED
from ptm.files.reading import FileContentError, read_text
from ptm.loading.batches import StepBatch
from ptm.nn.packed_examples import PackedShape
from ptm.train.utilisation import Flops

if TYPE_CHECKING:
    from ptm.recipe.blocks import EarlyStopping

_POLL_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1
_STOP_FILE_BYTES = 4096


class StopRequests:
    """Requests to stop: SIGTERM, SIGUSR1, SIGHUP, Ctrl-C, the time limit, or a file called `stop`.

    Each finishes the step, saves, and exits. A second Ctrl-C exits immediately.
    """

    def __init__(self, *, wall_time_hours: float | None) -> None:
        self.exit_code: int | None = None
        self.reason = ""
        self._deadline = time.monotonic() + wall_time_hours * 3600 if wall_time_hours else None
        self._previous: dict[int, Any] = {}
        self._file: Path | None = None
        self._in_place: Callable[[], bool] = lambda: True
        self._next_poll = 0.0

    def __enter__(self) -> StopRequests:
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
            # Leave SIGHUP ignored under nohup.
            if signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def watch(self, file: Path, *, in_place: Callable[[], bool] = lambda: True) -> None:
        """Stop when `file` appears, with exit code 130 if the file contains it, else 75.

        Also stop, with exit code 1, when `in_place` is false: the run folder was moved.
        """
        self._file = file
        self._in_place = in_place

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.exit_code == EXIT_INTERRUPTED:
            # Safe, because an unfinished checkpoint is still in a temporary folder.
            os._exit(EXIT_INTERRUPTED)
        self.exit_code = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_STOPPED
        self.reason = signal.Signals(number).name

    def due(self, *, progressed: bool) -> int | None:
        """Exit code if it is time to stop, or None. The time limit applies once `progressed`."""
        now = time.monotonic()
        if self.exit_code is None and self._deadline and now >= self._deadline and progressed:
            self.exit_code, self.reason = EXIT_STOPPED, "train.wall_time_hours has passed"
        if self.exit_code is None and self._file is not None and now >= self._next_poll:
            self._next_poll = now + _POLL_SECONDS
            self._read_stop_file(self._file)
            if not self._in_place():
                self.exit_code, self.reason = EXIT_FAULT, f"{self._file.parent} was moved"
        return self.exit_code

    def _read_stop_file(self, file: Path) -> None:
        try:
            requested = read_text(file, limit=_STOP_FILE_BYTES).strip()
        except OSError:
            return
        except FileContentError:
            # Something of that name is enough to stop the run.
            requested = ""
        self.exit_code = EXIT_INTERRUPTED if requested == str(EXIT_INTERRUPTED) else EXIT_STOPPED
        self.reason = f"{file} was created"


def stop_with_parent() -> None:
    """Make the kernel send SIGTERM to this process if its parent dies: no rank trains on alone.

    Linux only; does nothing on other systems.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def is_better(value: float | None, best: float | None, *, higher: bool, by: float = 0.0) -> bool:
    """Whether `value` is better than `best` by more than `by`. `higher`: higher is better.

    A value that was not measured (None) or is not finite never is.
    """
    if value is None or not math.isfinite(value):
        return False
    sign = 1 if higher else -1
    return best is None or sign * (value - best) > by


class BestMetric:
    """Tracks the best value of the metric `checkpoint.best`. Saved in checkpoints."""

    def __init__(self, metric: str | None, value: float | None, *, higher: bool) -> None:
        """`metric`: None disables tracking. `value`: the best before this start."""
        self._metric = metric
        self._higher = higher
        self.value = value

    def note(self, metrics: Mapping[str, float | None]) -> bool:
        """Record one evaluation; return whether it is the best so far."""
        if self._metric is None:
            return False
        value = metrics[self._metric]
        if not is_better(value, self.value, higher=self._higher):
            return False
        self.value = value
        return True


class Patience:
    """Counts evaluations without improvement, for early stopping. Saved in checkpoints."""

    def __init__(
        self,
        rule: EarlyStopping | None,
        state: Mapping[str, Any] | None = None,
        *,
        higher: bool = False,
    ) -> None:
        """`higher`: whether a higher value of the rule's metric is better."""
        self._rule = rule
        self._higher = higher
        self.best: float | None = state["best"] if state else None
        self.misses: int = state["misses"] if state else 0

    def note(self, metrics: Mapping[str, float | None]) -> None:
        """Record one evaluation; one that did not measure the metric counts neither way."""
        if self._rule is None:
            return
        value = metrics[self._rule.metric]
        if value is None:
            return
        by = self._rule.min_delta
        better = is_better(value, self.best, higher=self._higher, by=by)
        self.best = value if better else self.best
        self.misses = 0 if better else self.misses + 1

    @property
    def exhausted(self) -> bool:
        """Whether the rule's number of evaluations without improvement is reached."""
        return self._rule is not None and self.misses >= self._rule.patience

    def __str__(self) -> str:
        assert self._rule is not None, "patience without a rule"
        best = "" if self.best is None else f" on {self.best:.5g}"
        return f"{self._rule.metric} has not improved{best} (evaluations since then: {self.misses})"

    def state(self) -> dict[str, Any]:
        """State for the checkpoint."""
        return {"best": self.best, "misses": self.misses}


@dataclass(frozen=True)
class StepSummary:
    """Step totals, stop request and save progress of all ranks.

    `code`: the exit code if any rank has a request to stop. `saving`: the `SaveProgress` of each
    rank.
    """

    totals: StepTotals
    code: int | None
    saving: tuple[float, ...]


def all_gather_step(
    batch: StepBatch, flops: Flops, ranks: Ranks, *, code: int | None, saving: float
) -> StepSummary:
    """All-gather this rank's batch counts, stop request and save progress. Collective.

    The engine communicates once more, after the step, for the loss and the gradient norm.
    """
    # Only stage 0 counts: the last stage reads the same rows.
    counts = batch.counts if ranks.pipeline_stage == 0 else dict.fromkeys(batch.counts, 0)
    every = all_gather(
        {
            **{f"count {name}": float(count) for name, count in counts.items()},
            "examples": batch.examples if ranks.pipeline_stage == 0 else 0,
            "tokens": batch.tokens if ranks.pipeline_stage == 0 else 0,
            "flops": flops.needed if ranks.pipeline_stage == 0 else 0,
            "recomputed_flops": flops.recomputed if ranks.pipeline_stage == 0 else 0,
            "capacity": batch.capacity,
            **batch.packed_shape.as_numbers(),
            "code": -1 if code is None else code,
            "saving": saving,
        },
        ranks,
    )
    requested = int(max(row["code"] for row in every))
    totals = StepTotals(
        counts={name: sum(row[f"count {name}"] for row in every) for name in counts},
        capacity=int(max(row["capacity"] for row in every)),
        examples=int(sum(row["examples"] for row in every)),
        tokens=int(sum(row["tokens"] for row in every)),
        flops=sum(row["flops"] for row in every),
        recomputed_flops=sum(row["recomputed_flops"] for row in every),
        packed_shape=PackedShape.over(map(PackedShape.from_numbers, every)),
    )
    return StepSummary(
        totals, requested if requested >= 0 else None, tuple(row["saving"] for row in every)
    )
