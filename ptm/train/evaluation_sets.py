"""Evaluation sets of a training: their metrics, and how these changed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import repeat
from pathlib import Path

from ptm.components.objectives import Objective
from ptm.engines.base import Engine
from ptm.engines.metric_sums import (
    CountingIterator,
    metric_means,
    mixture_metrics,
    warn_of_unmeasured,
)
from ptm.engines.predictions import gathered_figures
from ptm.engines.ranks import Ranks, all_reduce_sum
from ptm.loading.batches import StepBatch, empty_batch, evaluation_batches
from ptm.loading.rows import PackedDataset
from ptm.recipe.data_block import EVAL, metric_key
from ptm.train.diagnoses import write_diagnosis

logger = logging.getLogger(__name__)


class EvaluationSets:
    """Evaluation rows by set name. All ranks call the same methods in the same order."""

    def __init__(
        self,
        sets: Mapping[str, PackedDataset],
        objective: Objective,
        engine: Engine,
        ranks: Ranks,
        *,
        micro_batch_size: int,
        shares: Mapping[str, float],
        folder: Path,
    ) -> None:
        """`shares`: those of the sets that are held out from the sources of a mixture. `folder`:
        that of the run, for diagnoses."""
        self._folder = folder
        self._sets = sets
        self._objective = objective
        self._engine = engine
        self._ranks = ranks
        self._micro_batch_size = micro_batch_size
        self._shares = shares

    def __len__(self) -> int:
        return len(self._sets)

    def metrics(self, *, step: int) -> dict[str, dict[str, float | None]]:
        """The objective's metrics and scores on each set, with the loss weights of `step`.

        Those of a mixture are first, under the name of the held-out split. None for what was not
        measured, with a warning.
        """
        found = {name: self._metrics_of(name, rows, step=step) for name, rows in self._sets.items()}
        if self._shares:
            found = {EVAL: mixture_metrics(found, self._shares, self._objective), **found}
        for name, metrics in found.items():
            warn_of_unmeasured(name, metrics)
        return found

    def _metrics_of(self, name: str, rows: PackedDataset, *, step: int) -> dict[str, float | None]:
        batches = CountingIterator(self._batches(rows), self._objective)
        found = self._engine.evaluate(batches)
        sums = found.sums
        # Only stage 0 counts: the last stage reads the same rows.
        counts = (
            batches.counts
            if self._ranks.pipeline_stage == 0
            else dict.fromkeys(batches.counts, 0.0)
        )
        every = all_reduce_sum(
            {
                **{f"sum {name}": value for name, value in sums.items()},
                **{f"count {name}": value for name, value in counts.items()},
            },
            self._ranks,
        )
        figures = gathered_figures(
            found.predictions,
            self._objective,
            self._ranks,
            expected=rows.predictions_expected,
            compute=rows.compute_scores,
            on_diagnosis=lambda one: write_diagnosis(self._folder, name, one, rows, step=step),
        )
        means = metric_means(
            {name: every[f"sum {name}"] for name in sums} | dict(figures.sums),
            {name: every[f"count {name}"] for name in counts},
            self._objective,
            step=step,
        )
        return {**means, **figures.scores}

    def _batches(self, rows: PackedDataset) -> Iterator[StepBatch]:
        """The batches of this rank; every rank has the same number."""
        ranks, size = self._ranks, self._micro_batch_size
        if not ranks.loads_data:
            count = -(-len(rows) // (size * ranks.data_parallel_size))
            return repeat(empty_batch(self._objective), count)
        return evaluation_batches(
            rows,
            size,
            data_parallel_rank=ranks.data_parallel_rank,
            data_parallel_size=ranks.data_parallel_size,
        )

    def log_changes(
        self, before: Mapping[str, float | None], after: Mapping[str, float | None]
    ) -> None:
        """Log the metrics before and after the training of warm-start weights.

        Both mappings are keyed by `metric_key`.
        """
        names = (*((EVAL,) if self._shares else ()), *self._sets)
        better = [one.name for one in self._objective.metrics if one.higher_is_better]
        shown = ("loss", "perplexity", *better, *(score.name for score in self._objective.scores))
        for name in names if before and after else ():
            changes = (
                f"{metric} {first:.4f} -> {last:.4f}"
                for metric in shown
                if (first := before.get(metric_key(name, metric))) is not None
                and (last := after.get(metric_key(name, metric))) is not None
            )
            logger.info("%s, before -> after: %s", name, ", ".join(changes))
