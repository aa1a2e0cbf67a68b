"""Report a training to metrics.jsonl, the console and the trackers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from ptm.engines.base import StepResult, StepTotals
from ptm.engines.ranks import Ranks, all_gather
from ptm.train.display import TrainingDisplay
from ptm.train.machine import machine_values
from ptm.train.metrics import MetricsFile, MetricWindow, Throughput, console_line, peak_memory
from ptm.train.run_folder import RunFolder
from ptm.train.trackers import Trackers
from ptm.train.utilisation import Flops, StepFlops

logger = logging.getLogger(__name__)


class Reporter:
    """Accumulates steps between reports and writes the reports.

    All ranks call the same methods in the same order.
    """

    def __init__(
        self,
        folder: RunFolder,
        ranks: Ranks,
        trackers: Trackers | None,
        *,
        steps: int,
        higher: Callable[[str], bool],
        utilisation: StepFlops,
        display: TrainingDisplay,
    ) -> None:
        """`steps`: of the whole run. `higher`: whether a higher value of a metric is better."""
        self._higher = higher
        self.speed = Throughput(utilisation)
        self._path = folder.metrics
        self._ranks = ranks
        self._trackers = trackers
        self._steps = steps
        self._display = display
        self._window = MetricWindow(ranks)
        self._file: MetricsFile | None = None

    def resume(self, window: Mapping[str, Any]) -> None:
        """Restore the metric sums that a checkpoint saved between two reports."""
        self._window = MetricWindow(self._ranks, window)

    def window_state(self) -> dict[str, Any]:
        """Metric sums for the checkpoint. Collective."""
        return self._window.state()

    def open(self) -> None:
        """Open metrics.jsonl, on rank 0."""
        self._file = MetricsFile(self._path) if self._ranks.is_main else None

    def close(self) -> None:
        """Close metrics.jsonl."""
        if self._file is not None:
            self._file.close()

    def add(self, result: StepResult, totals: StepTotals) -> None:
        """Add one step."""
        self._window.add(result)
        flops = Flops(totals.flops, totals.recomputed_flops)
        self.speed.add(tokens=totals.tokens, examples=totals.examples, flops=flops)

    def report_steps(
        self, progress: Mapping[str, Any], state: Mapping[str, Any], *, waited: float
    ) -> None:
        """Report the steps since the last report. Collective.

        `progress`: step, split, epoch and counts so far. `state`: learning rate, loss scale and
        skipped steps. `waited`: seconds that this rank waited for data.
        """
        # Reading the means waits for the device, so read the clock afterwards.
        means = self._window.means()
        every = all_gather(
            {"memory": peak_memory(self._ranks.device), "waited": waited}, self._ranks
        )
        record = {
            **progress,
            **{name: means[name] for name in sorted(means, key=lambda name: name != "loss")},
            **state,
            **self.speed.rates(waited=max(row["waited"] for row in every)),
            "memory_bytes": int(max(row["memory"] for row in every)),
            **(machine_values(self._path.parent) if self._ranks.is_main else {}),
        }
        self.write(record)
        self._window = MetricWindow(self._ranks)

    def write(self, *records: Mapping[str, Any]) -> None:
        """Write finished reports, on rank 0."""
        if self._file is None:
            return
        for record in records:
            self._file.write(record)
            self._display.report(record)
            line = console_line(
                record,
                steps=self._steps,
                higher=self._higher,
                with_time_left=not self._display.is_live,
            )
            logger.info("%s", line)
        if self._trackers is not None and records:
            self._trackers.log(*records)
