"""LAMB equals algorithm 2 of You et al. 2020, and torch's AdamW where it does not scale."""

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
    "decaying": {"weight_decay": 0.5},
    "not decaying": {"weight_decay": 0.0},
    "not corrected": {"bias_correction": False},
    "scaled vectors": {"adapt_vectors": True},
    "other betas": {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-2},
    "no means": {"beta1": 0.0, "beta2": 0.0},
}


def reference(
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-6,
    bias_correction: bool = True,
    adapt_vectors: bool = False,
) -> Any:
    def weights(weight: Array, gradients: list[Array], rates: list[float], decay: float) -> Array:
        first, second = np.zeros_like(weight), np.zeros_like(weight)
        for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
            first = beta1 * first + (1 - beta1) * gradient
            second = beta2 * second + (1 - beta2) * gradient**2
            corrections = (1 - beta1**step, 1 - beta2**step) if bias_correction else (1, 1)
            ratio = first / corrections[0] / (np.sqrt(second / corrections[1]) + epsilon)
            update = ratio + decay * weight
            norms = np.linalg.norm(weight), np.linalg.norm(update)
            if min(norms) > 0 and (weight.ndim > 1 or adapt_vectors):
                update = update * norms[0] / norms[1]
            weight = weight - rate * update
        return weight

    return weights


@at_one_and_five_updates
@in_fp64_and_fp32
@pytest.mark.parametrize("name", OPTIONS)
def test_the_updates_equal_those_of_the_paper(name: str, dtype: torch.dtype, updates: int) -> None:
    options = {key: value for key, value in OPTIONS[name].items() if key != "weight_decay"}
    config = optimizer("lamb", **OPTIONS[name])
    assert_equals_reference(config, reference(**options), updates, dtype)


def test_every_option_changes_something() -> None:
    """Otherwise the comparison above would not cover it."""
    assert differ([updated(optimizer("lamb", **options), 5) for options in OPTIONS.values()])


@at_one_and_five_updates
def test_vectors_have_the_updates_of_torchs_adam(updates: int) -> None:
    lamb = updated(optimizer("lamb"), updates)["vector"]
    adam = updated(optimizer("adamw", epsilon=1e-6), updates)["vector"]
    assert torch.allclose(lamb, adam, rtol=1e-9)


def test_an_update_has_the_norm_of_the_weights_times_the_learning_rate() -> None:
    config = optimizer("lamb", adapt_vectors=True)
    before, after = updated(config, 0), updated(config, 1)
    for name in ("matrix", "vector", "wide"):
        change = (after[name] - before[name]).norm()
        assert float(change / before[name].norm()) == pytest.approx(0.5 * 0.03)


def test_the_declared_states_are_those_of_the_torch_optimizer() -> None:
    assert_states_are_those_declared(optimizer("lamb"))
    assert optimizer("lamb").states((7, 5)) == {"exp_avg": (7, 5), "exp_avg_sq": (7, 5)}


def test_frozen_parameters_and_those_without_a_gradient_are_unchanged() -> None:
    assert_frozen_and_unused_parameters_are_unchanged(optimizer("lamb"))
