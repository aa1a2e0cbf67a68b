"""Reasons to stop before the last step, and how all ranks learn of one before they begin a step."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ptm.engines.base import StepTotals
from ptm.engines.ranks import Ranks, gathered
from ptm.errors import EXIT_INTERRUPTED, EXIT_STOPPED
from ptm.loading.batches import StepBatch

if TYPE_CHECKING:
    from ptm.recipe.blocks import EarlyStopping

_SECONDS_BETWEEN_LOOKS = 0.5
_PR_SET_PDEATHSIG = 1


class StopRequests:
    """SIGTERM, SIGUSR1, SIGHUP and Ctrl-C, the clock, and a file called `stop`: finish the step,
    save, leave. A second Ctrl-C leaves at once.
    """

    def __init__(self, *, wall_time_hours: float | None) -> None:
        self.exit_code: int | None = None
        self.reason = ""
        self._deadline = time.monotonic() + wall_time_hours * 3600 if wall_time_hours else None
        self._previous: dict[int, Any] = {}
        self._file: Path | None = None
        self._next_look = 0.0

    def __enter__(self) -> StopRequests:
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
            # Under nohup, SIGHUP is ignored and stays so.
            if signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._asked)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def watch(self, file: Path) -> None:
        """Stop when `file` appears, with the exit code in it (75 if there is none)."""
        self._file = file

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.exit_code == EXIT_INTERRUPTED:
            # Nothing half-written has a checkpoint's name, so leaving at once does no harm.
            os._exit(EXIT_INTERRUPTED)
        self.exit_code = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_STOPPED
        self.reason = signal.Signals(number).name

    def due(self, *, progressed: bool) -> int | None:
        """The exit code if it is time to stop; the clock stops only what has `progressed`."""
        now = time.monotonic()
        if self.exit_code is None and self._deadline and now >= self._deadline and progressed:
            self.exit_code, self.reason = EXIT_STOPPED, "train.wall_time_hours is used up"
        if self.exit_code is None and self._file is not None and now >= self._next_look:
            self._next_look = now + _SECONDS_BETWEEN_LOOKS
            self._look(self._file)
        return self.exit_code

    def _look(self, file: Path) -> None:
        try:
            asked = file.read_text(encoding="utf-8").strip()
        except OSError:
            return
        self.exit_code = EXIT_INTERRUPTED if asked == str(EXIT_INTERRUPTED) else EXIT_STOPPED
        self.reason = f"{file} is there"


def stop_with_parent() -> None:
    """Have this process told to stop (SIGTERM) when its parent dies, so that none trains on alone.

    Linux only; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def is_better(value: float, best: float | None, *, higher: bool, by: float = 0.0) -> bool:
    """Whether `value` beats `best` by more than `by`; `higher`: upwards, else downwards."""
    sign = 1 if higher else -1
    return best is None or sign * (value - best) > by


class Best:
    """The best value so far of the metric that checkpoints are kept by; part of a checkpoint."""

    def __init__(self, metric: str | None, value: float | None, *, higher: bool) -> None:
        """`metric`: None keeps none. `value`: the best before this start."""
        self._metric = metric
        self._higher = higher
        self.value = value

    def note(self, metrics: Mapping[str, float]) -> bool:
        """Take in one evaluation; whether it is the best."""
        if self._metric is None:
            return False
        value = metrics[self._metric]
        if not is_better(value, self.value, higher=self._higher):
            return False
        self.value = value
        return True


class Patience:
    """Counts evaluations without a better value; part of a checkpoint."""

    def __init__(
        self,
        rule: EarlyStopping | None,
        state: Mapping[str, Any] | None = None,
        *,
        higher: bool = False,
    ) -> None:
        """`higher`: whether the rule's metric is better when higher."""
        self._rule = rule
        self._higher = higher
        self.best: float | None = state["best"] if state else None
        self.misses: int = state["misses"] if state else 0

    def note(self, metrics: Mapping[str, float]) -> None:
        """Take in one evaluation."""
        if self._rule is None:
            return
        value = metrics[self._rule.metric]
        by = self._rule.minimum_change
        better = is_better(value, self.best, higher=self._higher, by=by)
        self.best = value if better else self.best
        self.misses = 0 if better else self.misses + 1

    @property
    def exhausted(self) -> bool:
        """Whether to end the training."""
        return self._rule is not None and self.misses >= self._rule.patience

    def __str__(self) -> str:
        assert self._rule is not None, "patience without a rule"
        return (
            f"{self._rule.metric} has not been better than {self.best:.5g} for {self.misses} "
            "evaluations"
        )

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"best": self.best, "misses": self.misses}


@dataclass(frozen=True)
class Heard:
    """What the ranks told each other.

    `code`: the exit code if any rank was asked to stop. `saving`: how far each rank is with what
    is being saved.
    """

    totals: StepTotals
    code: int | None
    saving: tuple[float, ...]


def hear_all(batch: StepBatch, ranks: Ranks, *, code: int | None, saving: float) -> Heard:
    """Tell the others of this rank's `batch`, exit code and saving; called by all ranks.

    The engine asks the ranks once more, after the step, for its loss and gradient norm.
    """
    # The last stage sees the rows that the first has counted.
    counts = batch.counts if ranks.stage == 0 else dict.fromkeys(batch.counts, 0)
    every = gathered(
        {
            **{f"count {name}": float(count) for name, count in counts.items()},
            "examples": batch.examples if ranks.stage == 0 else 0,
            "tokens": batch.tokens if ranks.stage == 0 else 0,
            "capacity": batch.capacity,
            "code": -1 if code is None else code,
            "saving": saving,
        },
        ranks,
    )
    asked = int(max(row["code"] for row in every))
    totals = StepTotals(
        counts={name: sum(row[f"count {name}"] for row in every) for name in counts},
        capacity=int(max(row["capacity"] for row in every)),
        examples=int(sum(row["examples"] for row in every)),
        tokens=int(sum(row["tokens"] for row in every)),
    )
    return Heard(totals, asked if asked >= 0 else None, tuple(row["saving"] for row in every))
