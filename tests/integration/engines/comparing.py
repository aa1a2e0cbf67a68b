"""Comparison of the reports of two trainings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.integration.engines.trainings import EXACT, IN_USE, INVALID
from tests.support.launched import Training

COARSE = ("bf16", "fp16", "overflow")
# Trainings with one of these words in their name are compared with `alone-WORD`, not
# `without_teachers`.
OTHERWISE = ("untied", "clipped", "distil", "frozen", "layered", "shared")
Reports = list[dict[str, Any]]


def differences(found: Reports, expected: Reports) -> dict[str, float]:
    """Return the largest relative difference of each reported number between two trainings."""
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
    """Return the one-process training with which the training `name` is compared."""
    return next((f"alone-{word}" for word in OTHERWISE if word in name), "alone")


def exact_ones(trainings: Sequence[Training]) -> list[str]:
    """Return the names of trainings that must report the numbers of their counterparts."""
    return [
        training.name
        for training in trainings
        if set(EXACT) <= set(training.overrides)
        and training.stop_at is None
        and training.name not in (*INVALID, IN_USE)
        and not training.name.startswith(COARSE)
        and not any(override.startswith("runs_dir=") for override in training.overrides)
    ]
