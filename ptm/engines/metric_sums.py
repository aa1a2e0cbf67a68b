"""Evaluation: metric sums, counts and means, and predictions, over many batches."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ptm.components.objectives import Objective
from ptm.engines.loss import unmeasured_metrics
from ptm.engines.predictions import PredictionCollector, Predictions
from ptm.engines.teachers import Teachers
from ptm.loading.batches import StepBatch
from ptm.loading.transfer import to_device
from ptm.nn.packed_examples import PackedExamples

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationResult:
    """What one rank found in an evaluation.

    `sums`: the sum of each metric. `predictions`: those for its examples, if the objective has
    scores.
    """

    sums: Mapping[str, float]
    predictions: Predictions


def evaluate_batches(
    model: Any,
    objective: Objective,
    batches: Iterable[StepBatch],
    device: torch.device,
    *,
    teachers: Teachers | None = None,
    packed: PackedExamples | None = None,
) -> EvaluationResult:
    """Return the metric sums and predictions over all `batches`, computed without gradients.

    `model`, in evaluation mode, maps a dict of tensors to a dict of outputs. `packed`: what its
    attention layers share, if they share it.
    """
    # The sums stay on the device until the end, so that it never waits for the next batch.
    sums = {
        metric.name: torch.zeros((), dtype=torch.float64, device=device)
        for metric in objective.metrics
    }
    collector = PredictionCollector(objective)
    with torch.no_grad():
        for batch in batches:
            if packed is not None:
                packed.shape = batch.packed_shape
            for micro_batch in batch.micro_batches:
                moved = to_device(micro_batch, device)
                if teachers is not None:
                    moved |= teachers.targets(moved)
                outputs = model(moved)
                # Sums that depend on the size of micro-batches are left to `set_sums`.
                found = {} if objective.compares_batch else objective.metric_sums(outputs, moved)
                for name, value in found.items():
                    sums[name] += value
                collector.add(outputs, moved)
    return EvaluationResult({name: float(total) for name, total in sums.items()}, collector.arrays)


def metric_means(
    sums: Mapping[str, float], counts: Mapping[str, float], objective: Objective, *, step: int = 0
) -> dict[str, float | None]:
    """Return each metric's sum divided by its count, `loss` (weighted as at `step`), `perplexity`.

    Perplexity is the exponential of what `objective.perplexity_of` names; None: it is left out. A
    value is None if it was not measured (see `unmeasured_metrics`).
    """
    weights = objective.loss_weights(step)
    means = {m.name: sums[m.name] / (counts[m.count] or 1.0) for m in objective.metrics}
    loss = sum(weights.get(name, 0.0) * mean for name, mean in means.items())
    absent = unmeasured_metrics(counts, objective, weights)
    found = {
        name: None if name in absent else value for name, value in {"loss": loss, **means}.items()
    }
    return found | _perplexity(found, objective)


def mixture_metrics(
    of_sources: Mapping[str, Mapping[str, float | None]],
    shares: Mapping[str, float],
    objective: Objective,
) -> dict[str, float | None]:
    """Return the mean of the sources' metrics and scores, weighted by `shares` (of sum 1).

    `of_sources`: the metrics of at least the sources in `shares`. Perplexity is the exponential of
    the mean. None if a source did not measure a metric.
    """
    first = of_sources[next(iter(shares))]
    found: dict[str, float | None] = {}
    for metric in first:
        values = [of_sources[name][metric] for name in shares]
        weighted = [
            share * value
            for share, value in zip(shares.values(), values, strict=True)
            if value is not None
        ]
        found[metric] = math.fsum(weighted) if len(weighted) == len(values) else None
    return found | _perplexity(found, objective)


def _perplexity(means: Mapping[str, float | None], objective: Objective) -> dict[str, float | None]:
    """The perplexity that belongs to `means`; empty if the objective has none."""
    if objective.perplexity_of is None:
        return {}
    judged = means[objective.perplexity_of]
    return {"perplexity": None if judged is None else _exponential(judged)}


def _exponential(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def warn_of_unmeasured(name: str, metrics: Mapping[str, float | None]) -> None:
    """Log a warning if metrics of the evaluation set `name` were not measured."""
    absent = [metric for metric, value in metrics.items() if value is None]
    if absent:
        logger.warning(
            "%s: null for %s, which could not be measured: the set has nothing to predict for them",
            name,
            ", ".join(absent),
        )


class CountingIterator:
    """Iterate over `batches` and add up their counts in `counts` on the way."""

    def __init__(self, batches: Iterable[StepBatch], objective: Objective) -> None:
        self._batches = batches
        self.counts = {metric.count: 0.0 for metric in objective.metrics}

    def __iter__(self) -> Iterator[StepBatch]:
        for batch in self._batches:
            for name, count in batch.counts.items():
                self.counts[name] += count
            yield batch
