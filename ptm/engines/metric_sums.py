"""Evaluation: sums, counts and means of an objective's metrics over many batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from ptm.components.objectives import Objective
from ptm.engines.teachers import Teachers
from ptm.loading.batches import StepBatch


def metric_sums(
    model: Any,
    objective: Objective,
    batches: Iterable[StepBatch],
    device: torch.device,
    *,
    teachers: Teachers | None = None,
) -> dict[str, float]:
    """Return the sum of each metric over all `batches`, computed without gradients.

    `model`, in evaluation mode, maps a dict of tensors to a dict of outputs.
    """
    sums = {metric.name: 0.0 for metric in objective.metrics}
    with torch.no_grad():
        for batch in batches:
            for micro_batch in batch.micro_batches:
                moved = {name: tensor.to(device) for name, tensor in micro_batch.items()}
                if teachers is not None:
                    moved |= teachers.targets(moved)
                for name, value in objective.metric_sums(model(moved), moved).items():
                    sums[name] += float(value)
    return sums


def metric_means(
    sums: Mapping[str, float], counts: Mapping[str, float], objective: Objective, *, step: int = 0
) -> dict[str, float]:
    """Return each metric's sum divided by its count, `loss` (weighted as at `step`), `perplexity`.

    Perplexity is the exponential of the metric `objective.perplexity_of`, or of the loss.
    """
    means = {m.name: sums[m.name] / max(1.0, counts[m.count]) for m in objective.metrics}
    weights = objective.loss_weights(step)
    loss = sum(weights.get(name, 0.0) * mean for name, mean in means.items())
    judged = loss if objective.perplexity_of is None else means[objective.perplexity_of]
    perplexity = math.exp(judged) if judged < 700 else math.inf
    return {"loss": loss, **means, "perplexity": perplexity}


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
