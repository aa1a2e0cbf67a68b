"""StableAdamW equals algorithm 2 of Wortsman et al. 2023, and AdamW where it does not clip."""

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
    "slow": {"beta2": 0.999},
    "large epsilon": {"epsilon": 0.1},
    "no means": {"beta1": 0.0, "beta2": 0.0},
}


def reference(beta1: float = 0.9, beta2: float = 0.99, epsilon: float = 1e-6) -> Any:
    def weights(weight: Array, gradients: list[Array], rates: list[float], decay: float) -> Array:
        first, second = np.zeros_like(weight), np.zeros_like(weight)
        for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
            decay1 = beta1 * (1 - beta1 ** (step - 1)) / (1 - beta1**step)
            decay2 = beta2 * (1 - beta2 ** (step - 1)) / (1 - beta2**step)
            first = decay1 * first + (1 - decay1) * gradient
            second = decay2 * second + (1 - decay2) * gradient**2
            rms = np.sqrt(np.mean(gradient**2 / np.maximum(second, epsilon**2)))
            clipped = rate / max(1.0, rms)
            weight = weight - clipped * decay * weight
            weight = weight - clipped * first / (np.sqrt(second) + epsilon)
        return weight

    return weights


@at_one_and_five_updates
@in_fp64_and_fp32
@pytest.mark.parametrize("name", OPTIONS)
def test_the_updates_equal_those_of_the_paper(name: str, dtype: torch.dtype, updates: int) -> None:
    options = {key: value for key, value in OPTIONS[name].items() if key != "weight_decay"}
    config = optimizer("stable_adamw", **OPTIONS[name])
    assert_equals_reference(config, reference(**options), updates, dtype)


def test_every_option_changes_something() -> None:
    """Otherwise the comparison above would not cover it."""
    ends = [updated(optimizer("stable_adamw", **options), 5) for options in OPTIONS.values()]
    assert differ(ends)


def test_unclipped_updates_equal_those_of_torchs_adamw() -> None:
    """The second moment of the first update is gradient^2, so that nothing is clipped."""
    betas = {"beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.3}
    mine, torchs = (updated(optimizer(kind, **betas), 1) for kind in ("stable_adamw", "adamw"))
    for name, value in mine.items():
        assert torch.allclose(value, torchs[name], rtol=1e-9)


def test_an_outlying_gradient_makes_a_far_smaller_update_than_with_adamw() -> None:
    """The gradients of the third update are a hundred times larger than those before."""
    changes = {}
    for kind in ("stable_adamw", "adamw"):
        config = optimizer(kind, beta2=0.999, epsilon=1e-8)
        changes[kind] = updated(config, 3)["matrix"] - updated(config, 2)["matrix"]
    # The corrected second moment is about a third of the third squared gradient.
    ratio = float(changes["adamw"].norm() / changes["stable_adamw"].norm())
    assert ratio == pytest.approx(3**0.5, rel=1e-2)


def test_the_declared_states_are_those_of_the_torch_optimizer() -> None:
    assert_states_are_those_declared(optimizer("stable_adamw"))
    assert optimizer("stable_adamw").states((7, 5)) == {"exp_avg": (7, 5), "exp_avg_sq": (7, 5)}


def test_frozen_parameters_and_those_without_a_gradient_are_unchanged() -> None:
    assert_frozen_and_unused_parameters_are_unchanged(optimizer("stable_adamw"))
