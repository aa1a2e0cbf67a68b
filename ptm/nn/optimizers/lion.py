"""Lion's update: the sign of an average of gradients (Chen et al. 2023).

torch has no implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ptm.nn.optimizers.parameter_updates import ParameterUpdates, Shape, State, gradient_of


class LionUpdates(ParameterUpdates):
    """The paper's algorithm 2. The options are those of the recipe's `optimizer` block."""

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        learning_rate: float,
        states: Callable[[Shape], Mapping[str, Shape]],
        beta1: float,
        beta2: float,
    ) -> None:
        super().__init__(groups, learning_rate=learning_rate, states=states)
        self._beta1, self._beta2 = beta1, beta2

    def _update(
        self, parameter: Tensor, state: State, rate: float | Tensor, weight_decay: float
    ) -> None:
        gradient, average = gradient_of(parameter), state["exp_avg"]
        update = average.lerp(gradient, 1 - self._beta1).sign_().mul_(rate)
        average.lerp_(gradient, 1 - self._beta2)
        if weight_decay:
            parameter *= 1 - weight_decay * rate
        parameter -= update
