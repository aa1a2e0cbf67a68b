"""What the reports of two trainings have to do with each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.integration.engines.trainings import EXACT, IN_USE, REFUSED
from tests.support.launched import Training

COARSE = ("bf16", "fp16", "overflow")
# Words in the names of trainings that are not compared with "alone".
OTHERWISE = ("untied", "clipped", "distil", "frozen", "shared")
Reports = list[dict[str, Any]]


def differences(found: Reports, expected: Reports) -> dict[str, float]:
    """The largest relative difference of every number that two trainings report."""
    places = [(one["step"], one["split"]) for one in found]
    assert places == [(one["step"], one["split"]) for one in expected]
    worst: dict[str, float] = {}
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for key in one.keys() - {"split"}:
            apart = abs(one[key] - other[key]) / max(abs(other[key]), 1e-9)
            worst[key] = max(worst.get(key, 0.0), apart)
    return worst


def counterpart(name: str) -> str:
    """The training of one process that another is compared with."""
    return next((f"alone-{word}" for word in OTHERWISE if word in name), "alone")


def exact_ones(trainings: Sequence[Training]) -> list[str]:
    """Names of the trainings that have the numbers of their counterparts to the last digits."""
    return [
        training.name
        for training in trainings
        if set(EXACT) <= set(training.overrides)
        and training.stop_at is None
        and training.name not in (*REFUSED, IN_USE)
        and not training.name.startswith(COARSE)
        and not any(override.startswith("runs_dir=") for override in training.overrides)
    ]
