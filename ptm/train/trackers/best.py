"""The best value of each metric so far, which trackers show beside the last one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ptm.components.objectives.base import Objective

_WITHOUT_BEST = {
    *("perf", "share", "system", "epoch", "rows", "examples", "tokens"),
    *("learning_rate", "loss_scale", "skipped_steps", "grad_norm", "save_seconds"),
}
"""Groups and names of metrics that have no best value."""


def best_of(name: str, objective: Objective) -> Literal["min", "max"] | None:
    """Which value of a tracker's metric is the best one; None if it has no best value."""
    group, _, metric = name.partition("/")
    if group in _WITHOUT_BEST or metric in _WITHOUT_BEST:
        return None
    return "max" if objective.higher_is_better(name) else "min"


class BestValues:
    """Keeps the best values, as `eval/loss.min` and `eval/mlm_accuracy.max`."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._best: dict[str, float] = {}

    def update(self, values: Mapping[str, float]) -> dict[str, float]:
        """The best values that `values` improves on, under their names. NaN is never the best."""
        improved: dict[str, float] = {}
        for name, value in values.items():
            best = best_of(name, self._objective)
            if best is None or value != value:
                continue
            key = f"{name}.{best}"
            before = self._best.get(key)
            if before is None or (value > before if best == "max" else value < before):
                improved[key] = value
        self._best |= improved
        return improved
