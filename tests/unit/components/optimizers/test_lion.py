"""Lion equals algorithm 2 of Chen et al. 2023."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.components.optimizers.updates import (
    Array,
    assert_equals_reference,
    assert_frozen_and_unused_parameters_are_unchanged,
    assert_states_are_those_declared,
    at_one_and_five_updates,
    differ,
    in_fp64_and_fp32,
    optimizer,
    updated,
)

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "decaying": {"weight_decay": 0.3},
    "language models": {"beta1": 0.95, "beta2": 0.98},
    "no mean": {"beta1": 0.0, "beta2": 0.5},
}


def reference(beta1: float = 0.9, beta2: float = 0.99) -> Any:
    def weights(weight: Array, gradients: list[Array], rates: list[float], decay: float) -> Array:
        mean = np.zeros_like(weight)
        for gradient, rate in zip(gradients, rates, strict=True):
            direction = np.sign(beta1 * mean + (1 - beta1) * gradient)
            weight = weight - rate * (direction + decay * weight)
            mean = beta2 * mean + (1 - beta2) * gradient
        return weight

    return weights


@at_one_and_five_updates
@in_fp64_and_fp32
@pytest.mark.parametrize("name", OPTIONS)
def test_the_updates_equal_those_of_the_paper(name: str, dtype: torch.dtype, updates: int) -> None:
    betas = {key: value for key, value in OPTIONS[name].items() if key != "weight_decay"}
    config = optimizer("lion", **OPTIONS[name])
    assert_equals_reference(config, reference(**betas), updates, dtype)


def test_every_option_changes_something() -> None:
    """Otherwise the comparison above would not cover it."""
    assert differ([updated(optimizer("lion", **options), 5) for options in OPTIONS.values()])


def test_every_weight_changes_by_the_learning_rate() -> None:
    config = optimizer("lion", weight_decay=0.0)
    before, after = updated(config, 0), updated(config, 1)
    for name, value in after.items():
        change = (value - before[name]).abs()
        assert torch.allclose(change, torch.full_like(change, 0.5 * 0.03))


def test_the_declared_state_is_that_of_the_torch_optimizer() -> None:
    assert_states_are_those_declared(optimizer("lion"))
    assert optimizer("lion").states((7, 5)) == {"exp_avg": (7, 5)}


def test_frozen_parameters_and_those_without_a_gradient_are_unchanged() -> None:
    assert_frozen_and_unused_parameters_are_unchanged(optimizer("lion"))
