"""Muon equals torch.optim.Muon on hidden matrices and torch.optim.AdamW on all others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.components.optimizers.updates import (
    FACTORS,
    PEAK,
    SHAPES,
    assert_frozen_and_unused_parameters_are_unchanged,
    assert_states_are_those_declared,
    at_one_and_five_updates,
    differ,
    gradients,
    optimizer,
    parameters,
    updated,
)

HIDDEN = ("matrix", "wide")
# The options of a recipe -> those of torch.optim.Muon, and of torch.optim.AdamW.
OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "default": ({}, {}, {}),
    "original": (
        {"adjust_lr_fn": "original", "adamw_learning_rate": 3e-4},
        {"adjust_lr_fn": "original"},
        {"lr": 3e-4},
    ),
    "momentum": (
        {"momentum": 0.8, "nesterov": False},
        {"momentum": 0.8, "nesterov": False},
        {},
    ),
    "iterations": (
        {"ns_steps": 3, "ns_coefficients": [2.0, -1.5, 0.5], "ns_epsilon": 1.0},
        {"ns_steps": 3, "ns_coefficients": (2.0, -1.5, 0.5), "eps": 1.0},
        {},
    ),
    "AdamW": (
        {"beta1": 0.5, "beta2": 0.8, "epsilon": 1e-2},
        {},
        {"betas": (0.5, 0.8), "eps": 1e-2},
    ),
    "decaying": ({"weight_decay": 0.5}, {"weight_decay": 0.5}, {"weight_decay": 0.5}),
}


def expected(name: str, updates: int) -> dict[str, Tensor]:
    """The weights after updates by torch's two optimizers."""
    _, of_muon, of_adamw = OPTIONS[name]
    mine = parameters()
    muon = {"lr": PEAK, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw", **of_muon}
    adamw = {"lr": PEAK, "weight_decay": 0.1, **of_adamw}
    parts: list[tuple[torch.optim.Optimizer, float]] = [
        (torch.optim.Muon([mine[one] for one in HIDDEN], **muon), muon["lr"]),
        (torch.optim.AdamW([mine["zeros"]], **adamw), adamw["lr"]),
        (torch.optim.AdamW([mine["vector"]], **{**adamw, "weight_decay": 0.0}), adamw["lr"]),
    ]
    for update in range(updates):
        for one, gradient in gradients(update).items():
            mine[one].grad = gradient
        for part, peak in parts:
            part.param_groups[0]["lr"] = peak * FACTORS[update]
            part.step()
    return {name: value.detach() for name, value in mine.items()}


@at_one_and_five_updates
@pytest.mark.parametrize("name", OPTIONS)
def test_the_updates_equal_those_of_torch(name: str, updates: int) -> None:
    found = updated(optimizer("muon", **OPTIONS[name][0]), updates, hidden=HIDDEN)
    for one, value in expected(name, updates).items():
        assert torch.allclose(found[one], value, rtol=1e-6, atol=0), one


def test_every_option_changes_something() -> None:
    """Otherwise the comparison above would not cover it."""
    ends = [updated(optimizer("muon", **one), 5, hidden=HIDDEN) for one, *_ in OPTIONS.values()]
    assert differ(ends)


def test_an_update_of_a_hidden_matrix_is_nearly_orthogonal() -> None:
    """The singular values after Newton-Schulz iterations are between 0.5 and 1.5."""
    config = optimizer("muon", weight_decay=0.0)
    before, after = updated(config, 0, hidden=HIDDEN), updated(config, 1, hidden=HIDDEN)
    for name in HIDDEN:
        factor = 0.2 * max(SHAPES[name]) ** 0.5 * FACTORS[0] * PEAK
        values = torch.linalg.svdvals((after[name] - before[name]) / factor)
        assert values.min() > 0.5
        assert values.max() < 1.5


def test_a_parameter_may_have_its_own_rate_factor() -> None:
    config = optimizer("muon", adamw_learning_rate=PEAK / 2, weight_decay=0.0)
    whole = updated(config, 1, hidden=HIDDEN)
    half = updated(config, 1, hidden=HIDDEN, rates={"matrix": 0.5, "vector": 0.5})
    for name, first in parameters().items():
        factor = 0.5 if name in ("matrix", "vector") else 1.0
        assert torch.allclose(half[name] - first, factor * (whole[name] - first)), name


@pytest.mark.parametrize("hidden", [HIDDEN, (), tuple(SHAPES)[:1]])
def test_the_declared_states_are_those_of_the_torch_optimizers(hidden: tuple[str, ...]) -> None:
    assert_states_are_those_declared(optimizer("muon"), hidden=hidden)


def test_hidden_matrices_have_one_state_and_all_others_those_of_adamw() -> None:
    config = optimizer("muon")
    assert config.states((7, 5), hidden=True) == {"momentum_buffer": (7, 5)}
    assert config.states((7, 5)) == {"exp_avg": (7, 5), "exp_avg_sq": (7, 5)}


@pytest.mark.parametrize("hidden", [HIDDEN, ("wide",)], ids=["some frozen", "all frozen"])
def test_frozen_parameters_and_those_without_a_gradient_are_unchanged(
    hidden: tuple[str, ...],
) -> None:
    assert_frozen_and_unused_parameters_are_unchanged(optimizer("muon"), hidden=hidden)
