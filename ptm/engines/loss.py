"""Loss normalisation: each metric is divided by its count over the global batch, then weighted.

Counts are all-reduced before the step, so every token has the same weight whatever the
gradient accumulation and the number of ranks.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ptm.components.objectives import Objective


def scaled_metrics(
    sums: Mapping[str, Tensor],
    counts: Mapping[str, float],
    objective: Objective,
    weights: Mapping[str, float],
) -> dict[str, Tensor]:
    """Return a micro-batch's summands of the loss and of each metric's mean over the global batch.

    `sums`: metric sums of the micro-batch. `counts`: denominators over the global batch.
    `weights`: weight of each metric in the loss; metrics without one are only reported.
    """
    # A count may be a sum of class weights and below 1; if it is 0, so is the sum.
    values = {
        metric.name: sums[metric.name] / (counts[metric.count] or 1.0)
        for metric in objective.metrics
    }
    device = next(iter(values.values())).device
    weighted = (weights[name] * value for name, value in values.items() if weights.get(name))
    return {"loss": sum(weighted, start=torch.zeros((), device=device)), **values}


def unmeasured_metrics(
    counts: Mapping[str, float], objective: Objective, weights: Mapping[str, float]
) -> frozenset[str]:
    """Return the names of the metrics whose count is 0, and `loss` if its value depends on one.

    A sum over nothing is 0, which would be taken for a perfect loss. `weights`: weight of each
    metric in the loss.
    """
    absent = {metric.name for metric in objective.metrics if not counts[metric.count]}
    depends = any(weights.get(name) for name in absent)
    return frozenset(absent | {"loss"} if depends else absent)


def zero_metrics(objective: Objective, device: torch.device) -> dict[str, Tensor]:
    """Return zeros for the loss and every metric, for ranks that compute no loss."""
    names = ("loss", *(metric.name for metric in objective.metrics))
    return {name: torch.zeros((), device=device) for name in names}


def accumulate(totals: dict[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Add detached `values` to `totals` by name, in place."""
    for name, value in values.items():
        value = value.detach()
        totals[name] = totals[name] + value if name in totals else value
