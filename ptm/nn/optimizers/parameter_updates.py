"""The base class of optimizers that update one parameter after another."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Shape = tuple[int, ...]
State = dict[str, Tensor]


class ParameterUpdates(torch.optim.Optimizer):
    """A torch optimizer whose subclasses define the update of one parameter.

    `states` maps the shape of a parameter to the names and shapes of its states, which begin as
    zeros. Every parameter also has the state `step`, the number of its updates. It is a tensor on
    the parameter's device, so that updates do not synchronise with the device.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        learning_rate: float,
        states: Callable[[Shape], Mapping[str, Shape]],
    ) -> None:
        super().__init__(groups, {"lr": learning_rate})
        self._states = states

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient. `closure` must be None."""
        assert closure is None, "closures are not supported"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self._state(parameter)
                    state["step"] += 1
                    self._update(parameter, state, group["lr"], group["weight_decay"])

    def _state(self, parameter: Tensor) -> State:
        state: State = self.state[parameter]
        if not state:
            for name, shape in self._states(tuple(parameter.shape)).items():
                state[name] = parameter.new_zeros(shape)
            state["step"] = parameter.new_zeros(())
        return state

    @abstractmethod
    def _update(
        self, parameter: Tensor, state: State, rate: float | Tensor, weight_decay: float
    ) -> None:
        """Update a parameter that has a gradient, and its states except `step`."""


def gradient_of(parameter: Tensor) -> Tensor:
    """The gradient of a parameter that has one."""
    assert parameter.grad is not None
    return parameter.grad


def bias_correction(beta: float, step: Tensor) -> Tensor:
    """1 - beta ** step, the sum of the weights of a running mean that began at 0."""
    if beta == 0:
        return torch.ones_like(step)
    # In fp32, the difference would be off by some 1e-4 in the first steps.
    return -torch.expm1(step * math.log(beta))
