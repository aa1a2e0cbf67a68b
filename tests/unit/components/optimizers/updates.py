"""Updates of small parameters by an optimizer of a recipe, for comparisons with references."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor, nn

from ptm.components.optimizers import AnyOptimizer, Optimizer
from ptm.components.optimizers.base import RATE

SHAPES = {"matrix": (7, 5), "vector": (6,), "wide": (3, 8), "zeros": (2, 3)}
PEAK = 0.03
# Learning rates of successive updates, as a schedule gives them; the first is that of a warm-up.
FACTORS = (0.5, 1.0, 0.8, 0.4, 0.2)

Array = NDArray[np.float64]
Reference = Callable[[Array, list[Array], list[float], float], Array]
"""(weights, gradients, learning rates, weight decay) -> weights after these updates."""


def optimizer(kind: str, **options: Any) -> Optimizer:
    values = {"type": kind, "learning_rate": PEAK, **options}
    found: Optimizer = TypeAdapter(AnyOptimizer).validate_python(values)
    return found


def parameters(dtype: torch.dtype = torch.float64) -> dict[str, nn.Parameter]:
    torch.manual_seed(3)
    drawn = {name: torch.randn(shape, dtype=torch.float64) for name, shape in SHAPES.items()}
    drawn["zeros"].zero_()
    return {name: nn.Parameter(value.to(dtype)) for name, value in drawn.items()}


def gradients(update: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Gradients that grow a hundredfold at the third update, which clipping of updates sees."""
    torch.manual_seed(100 + update)
    size = 1.0 if update == 2 else 0.01
    drawn = {name: torch.randn(shape, dtype=torch.float64) for name, shape in SHAPES.items()}
    return {name: (size * value).to(dtype) for name, value in drawn.items()}


def updated(
    config: Optimizer,
    updates: int,
    *,
    hidden: Collection[str] = (),
    dtype: torch.dtype = torch.float64,
    rates: Mapping[str, float] | None = None,
) -> dict[str, Tensor]:
    """The weights after `updates` updates by the optimizer that `config` builds."""
    mine = parameters(dtype)
    built = config.build(mine.items(), rates or {}, hidden=hidden)
    for update in range(updates):
        for group in built.param_groups:
            group["lr"] = config.rate(update) * FACTORS[update] * group[RATE]
        for name, gradient in gradients(update, dtype).items():
            mine[name].grad = gradient
        built.step()
    return {name: value.detach() for name, value in mine.items()}


def assert_equals_reference(
    config: Optimizer, reference: Reference, updates: int, dtype: torch.dtype = torch.float64
) -> None:
    """The change of every parameter is that of `reference`, in fp64, up to 1e-6 of its norm."""
    first, found = parameters(), updated(config, updates, dtype=dtype)
    every = [gradients(update) for update in range(updates)]
    rates = [config.learning_rate * factor for factor in FACTORS[:updates]]
    for name, value in first.items():
        decay = config.weight_decay if value.dim() > 1 else 0.0
        before = value.detach().numpy()
        expected = reference(before, [one[name].numpy() for one in every], rates, decay)
        scale = np.linalg.norm(expected - before)
        assert scale > 0
        # An fp32 weight is rounded, whatever the update.
        error = np.linalg.norm(found[name].double().numpy() - expected)
        assert error <= 1e-6 * (scale if dtype == torch.float64 else np.linalg.norm(expected))


def assert_states_are_those_declared(config: Optimizer, *, hidden: Collection[str] = ()) -> None:
    mine = parameters()
    built = config.build(mine.items(), {}, hidden=hidden)
    for name, gradient in gradients(0).items():
        mine[name].grad = gradient
    built.step()
    for name, value in mine.items():
        shapes = {kind: tuple(kept.shape) for kind, kept in built.state[value].items()}
        shapes.pop("step", None)
        assert shapes == config.states(tuple(value.shape), hidden=name in hidden)


def assert_frozen_and_unused_parameters_are_unchanged(
    config: Optimizer, *, hidden: Collection[str] = ()
) -> None:
    mine = parameters()
    before = {name: value.detach().clone() for name, value in mine.items()}
    mine["wide"].requires_grad_(False)
    built = config.build(mine.items(), {}, hidden=hidden)
    assert not any(mine["wide"] is one for group in built.param_groups for one in group["params"])
    mine["vector"].grad = torch.ones(6, dtype=torch.float64)
    built.step()
    assert torch.equal(mine["matrix"], before["matrix"])
    assert not torch.equal(mine["vector"], before["vector"])


def differ(ends: list[dict[str, Tensor]]) -> bool:
    """Whether no two of the results are equal for all parameters."""
    return not any(
        all(torch.allclose(one[name], other[name], rtol=1e-5) for name in SHAPES)
        for index, one in enumerate(ends)
        for other in ends[:index]
    )


at_one_and_five_updates = pytest.mark.parametrize("updates", [1, 5])
in_fp64_and_fp32 = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
