"""How the loss is normalised: each metric by its count over the global batch, then weighted.

Counts are added over all ranks before the step, so neither accumulation nor the number of ranks
changes what a token weighs.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ptm.components.objectives import Objective


def normalised(
    sums: Mapping[str, Tensor],
    counts: Mapping[str, float],
    objective: Objective,
    weights: Mapping[str, float],
) -> dict[str, Tensor]:
    """A micro-batch's share of each metric's mean over the global batch, and of the loss.

    `sums`: of the micro-batch. `counts`: of the global batch. `weights`: of each metric in the loss
    at this step; 0, or none, for what is only watched.
    """
    values = {
        metric.name: sums[metric.name] / max(1.0, counts[metric.count])
        for metric in objective.metrics
    }
    device = next(iter(values.values())).device
    weighted = (weights[name] * value for name, value in values.items() if weights.get(name))
    return {"loss": sum(weighted, start=torch.zeros((), device=device)), **values}


def zeros(objective: Objective, device: torch.device) -> dict[str, Tensor]:
    """The shares of a rank that sees no loss."""
    names = ("loss", *(metric.name for metric in objective.metrics))
    return {name: torch.zeros((), device=device) for name in names}


def added(totals: dict[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Add detached `values` to `totals` by name."""
    for name, value in values.items():
        value = value.detach()
        totals[name] = totals[name] + value if name in totals else value
