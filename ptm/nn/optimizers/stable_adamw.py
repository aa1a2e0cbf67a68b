"""StableAdamW's update: AdamW with Adafactor's update clipping (Wortsman et al. 2023).

torch has no implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ptm.nn.optimizers.parameter_updates import (
    ParameterUpdates,
    Shape,
    State,
    bias_correction,
    gradient_of,
)


class StableAdamWUpdates(ParameterUpdates):
    """The paper's algorithm 2. The options are those of the recipe's `optimizer` block.

    The moments are stored with their bias correction: the decay rates of the first steps are lower.
    As in the algorithm, the weights decay by the clipped rate; the authors' later code decays them
    by the rate before clipping.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        learning_rate: float,
        states: Callable[[Shape], Mapping[str, Shape]],
        beta1: float,
        beta2: float,
        epsilon: float,
    ) -> None:
        super().__init__(groups, learning_rate=learning_rate, states=states)
        self._beta1, self._beta2 = beta1, beta2
        self._epsilon = epsilon

    def _update(
        self, parameter: Tensor, state: State, rate: float | Tensor, weight_decay: float
    ) -> None:
        gradient = gradient_of(parameter)
        squared = gradient.square()
        first = state["exp_avg"].lerp_(gradient, _newest_weight(self._beta1, state["step"]))
        second = state["exp_avg_sq"].lerp_(squared, _newest_weight(self._beta2, state["step"]))
        # The mean needs more precision than fp32 for an embedding's millions of values.
        ratios = squared.div_(second.clamp(min=self._epsilon**2))
        root_mean_square = ratios.mean(dtype=torch.float64).sqrt_().to(ratios.dtype)
        rate = rate / root_mean_square.clamp_(min=1.0)
        if weight_decay:
            parameter *= 1 - weight_decay * rate
        parameter -= (first / second.sqrt().add_(self._epsilon)).mul_(rate)


def _newest_weight(beta: float, step: Tensor) -> Tensor:
    """The weight of the newest value in a bias-corrected running mean: 1 - beta of this step."""
    return (1 - beta) / bias_correction(beta, step)
