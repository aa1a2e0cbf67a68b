"""Means of an objective's metrics over many batches, without gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ptm.objectives import Objective
from ptm.train.rows import StepBatch


def evaluation_means(
    model: Any, objective: Objective, batches: Iterable[StepBatch], device: torch.device
) -> dict[str, float]:
    """Each metric's sum over all `batches` divided by its count there, and the weighted loss.

    `model` (in evaluation mode) maps named tensors to named outputs.
    """
    sums = {metric.name: 0.0 for metric in objective.metrics}
    counts = {metric.count: 0.0 for metric in objective.metrics}
    with torch.no_grad():
        for batch in batches:
            for micro_batch in batch.micro_batches:
                moved = {name: tensor.to(device) for name, tensor in micro_batch.items()}
                for name, value in objective.sums(model(moved), moved).items():
                    sums[name] += float(value)
            for name, count in batch.counts.items():
                counts[name] += count
    means = {m.name: sums[m.name] / max(1.0, counts[m.count]) for m in objective.metrics}
    return {"loss": sum(m.weight * means[m.name] for m in objective.metrics), **means}


def with_perplexity(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics of an evaluation and the exponential of its loss."""
    loss = metrics["loss"]
    return {**metrics, "perplexity": math.exp(loss) if loss < 700 else math.inf}
