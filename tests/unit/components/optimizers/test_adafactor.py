"""Adafactor equals transformers' implementation, update by update."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn
from transformers.optimization import Adafactor as Theirs

from ptm.components.optimizers import AnyOptimizer, Optimizer
from ptm.components.optimizers.base import RATE

SHAPES = {"matrix": (7, 5), "vector": (6,), "three": (2, 4, 3), "row": (1, 5), "small": (3, 3)}
UPDATES = 12
OPTIONS: dict[str, dict[str, Any]] = {
    "relative": {},
    "warming up": {"warmup_init": True},
    "T5 fine-tuned": {
        "relative_step": False,
        "scale_parameter": False,
        "learning_rate": 1e-3,
    },
    "scaled": {"relative_step": False, "learning_rate": 3e-2},
    "with a mean": {"beta1": 0.9},
    "hardly clipped": {"clip_threshold": 100.0, "decay_rate": -0.5},
    "other epsilons": {"epsilon1": 1e-2, "epsilon2": 0.5},
}


def optimizer(**options: Any) -> Optimizer:
    found: Optimizer = TypeAdapter(AnyOptimizer).validate_python({"type": "adafactor", **options})
    return found


def parameters() -> dict[str, nn.Parameter]:
    torch.manual_seed(3)
    drawn = {
        name: nn.Parameter(torch.randn(shape, dtype=torch.float64))
        for name, shape in SHAPES.items()
    }
    with torch.no_grad():
        # Below the lower bound of the scale, epsilon2.
        drawn["small"].mul_(1e-5)
    return drawn


def gradients(update: int) -> dict[str, Tensor]:
    torch.manual_seed(100 + update)
    size = 10.0 ** (update % 4 - 3)
    return {name: size * torch.randn(shape, dtype=torch.float64) for name, shape in SHAPES.items()}


def our_weights(weight_decay: float = 0.0, **options: Any) -> list[dict[str, Tensor]]:
    config, mine = optimizer(weight_decay=weight_decay, **options), parameters()
    built, after = config.build(mine.items(), {}), []
    for update in range(UPDATES):
        for group in built.param_groups:
            group["lr"] = config.rate(update) * group[RATE]
        for name, gradient in gradients(update).items():
            mine[name].grad = gradient
        built.step()
        after.append({name: value.detach().clone() for name, value in mine.items()})
    return after


def their_weights(weight_decay: float = 0.0, **options: Any) -> list[dict[str, Tensor]]:
    renamed = dict(options)
    epsilons = (renamed.pop("epsilon1", 1e-30), renamed.pop("epsilon2", 1e-3))
    drawn, after = parameters(), []
    vectors = [value for value in drawn.values() if value.dim() == 1]
    matrices = [value for value in drawn.values() if value.dim() > 1]
    theirs = Theirs(
        [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors}],
        lr=renamed.pop("learning_rate", None),
        eps=epsilons,
        **renamed,
    )
    for update in range(UPDATES):
        for name, gradient in gradients(update).items():
            drawn[name].grad = gradient
        theirs.step()
        after.append({name: value.detach().clone() for name, value in drawn.items()})
    return after


@pytest.mark.parametrize("weight_decay", [0.0, 0.1], ids=["", "decaying"])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_update_equals_that_of_transformers(name: str, weight_decay: float) -> None:
    options, first = OPTIONS[name], parameters()
    mine = our_weights(weight_decay, **options)
    theirs = their_weights(weight_decay, **options)
    for one, other in zip(mine, theirs, strict=True):
        for key, value in one.items():
            here, there = (weights - first[key].detach() for weights in (value, other[key]))
            assert (here - there).norm() <= 1e-9 * there.norm()
            assert there.any()


def test_every_option_changes_something() -> None:
    """Otherwise the comparison above would not cover it."""
    ends = [our_weights(**options)[-1]["matrix"] for options in OPTIONS.values()]
    ends.append(our_weights(0.1)[-1]["matrix"])
    for index, one in enumerate(ends):
        assert not any(torch.allclose(one, other, rtol=1e-4) for other in ends[:index])


@pytest.mark.parametrize("warmup_init", [False, True])
def test_the_relative_step_equals_that_of_transformers(warmup_init: bool) -> None:
    config = optimizer(warmup_init=warmup_init)
    group = {"lr": None, "relative_step": True, "scale_parameter": False}
    for step in (1, 2, 9_999, 10_000, 10_001, 40_000, 10**6):
        state = {"step": step}
        theirs = Theirs._get_lr({**group, "warmup_init": warmup_init}, state)  # noqa: SLF001
        assert config.rate(step - 1) == theirs


def test_states_are_per_row_and_column_of_a_matrix_and_per_entry_of_a_vector() -> None:
    config = optimizer()
    assert config.states((7, 5)) == {"exp_avg_sq_row": (7,), "exp_avg_sq_col": (5,)}
    assert config.states((2, 4, 3)) == {"exp_avg_sq_row": (2, 4), "exp_avg_sq_col": (2, 3)}
    assert config.states((6,)) == {"exp_avg_sq": (6,)}
    assert optimizer(beta1=0.9).states((7, 5))["exp_avg"] == (7, 5)


@pytest.mark.parametrize("beta1", [None, 0.9])
def test_the_declared_states_are_the_states_of_the_torch_optimizer(beta1: float | None) -> None:
    config, mine = optimizer(beta1=beta1), parameters()
    built = config.build(mine.items(), {})
    for name, gradient in gradients(0).items():
        mine[name].grad = gradient
    built.step()
    for value in mine.values():
        shapes = {name: tuple(kept.shape) for name, kept in built.state[value].items()}
        assert shapes == {**config.states(tuple(value.shape)), "step": ()}


def test_a_parameter_without_a_gradient_is_unchanged() -> None:
    mine = parameters()
    before = mine["matrix"].detach().clone()
    mine["vector"].grad = torch.ones(6, dtype=torch.float64)
    optimizer().build(mine.items(), {}).step()
    assert torch.equal(mine["matrix"], before)


def test_a_parameter_may_have_its_own_rate_factor() -> None:
    groups = optimizer().build(parameters().items(), {"matrix": 0.5}).param_groups
    assert {group[RATE] for group in groups} == {0.5, 1.0}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"learning_rate": 1e-3}, "learning_rate = 0.001 and relative_step = true both set"),
        ({"relative_step": False}, "relative_step = false needs a learning rate"),
        (
            {"relative_step": False, "learning_rate": 1e-3, "warmup_init": True},
            "warmup_init = true needs relative_step: true",
        ),
    ],
    ids=["two rates", "no rate", "nothing to warm up"],
)
def test_contradicting_options_are_rejected(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        optimizer(**options)


def test_a_resolved_recipe_may_contain_the_learning_rate() -> None:
    written = optimizer().model_dump(mode="json")
    assert optimizer(**{k: v for k, v in written.items() if k != "type"}) == optimizer()
