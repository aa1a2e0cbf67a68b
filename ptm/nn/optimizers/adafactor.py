"""Adafactor's update: second moments by row and column (Shazeer and Stern 2018).

transformers has an implementation, but is not a dependency. torch's lacks relative steps, their
warm-up and a first moment, which T5's recipes use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ptm.nn.optimizers.parameter_updates import ParameterUpdates, Shape, State, gradient_of


class AdafactorUpdates(ParameterUpdates):
    """The paper's algorithms 4 and 5. The options are those of the recipe's `optimizer` block."""

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        learning_rate: float,
        states: Callable[[Shape], Mapping[str, Shape]],
        scale_parameter: bool,
        clip_threshold: float,
        decay_rate: float,
        epsilon1: float,
        epsilon2: float,
        beta1: float | None,
    ) -> None:
        super().__init__(groups, learning_rate=learning_rate, states=states)
        self._scale_parameter = scale_parameter
        self._clip_threshold = clip_threshold
        self._decay_rate = decay_rate
        self._epsilon1, self._epsilon2 = epsilon1, epsilon2
        self._beta1 = beta1

    def _update(
        self, parameter: Tensor, state: State, rate: float | Tensor, weight_decay: float
    ) -> None:
        update = self._precondition(gradient_of(parameter), state)
        update /= (_root_mean_square(update) / self._clip_threshold).clamp_(min=1.0)
        if self._scale_parameter:
            rate = rate * _root_mean_square(parameter).clamp_(min=self._epsilon2)
        update *= rate
        if self._beta1 is not None:
            update = state["exp_avg"].lerp_(update, 1 - self._beta1)
        if weight_decay:
            parameter *= 1 - weight_decay * rate
        parameter -= update

    def _precondition(self, gradient: Tensor, state: State) -> Tensor:
        """Update the second moment with `gradient`; return the gradient divided by its root."""
        # The weight of the newest squared gradient: 1 - beta2 of this step.
        newest_weight = state["step"] ** self._decay_rate
        squared = gradient.square().add_(self._epsilon1)
        if "exp_avg_sq" in state:
            return torch.mul(
                gradient, state["exp_avg_sq"].lerp_(squared, newest_weight).rsqrt(), out=squared
            )
        rows = state["exp_avg_sq_row"].lerp_(squared.mean(dim=-1), newest_weight)
        columns = state["exp_avg_sq_col"].lerp_(squared.mean(dim=-2), newest_weight)
        row_factor = (rows / rows.mean(dim=-1, keepdim=True)).rsqrt_().unsqueeze(-1)
        # Reuse the memory of `squared`: the gradient of an embedding is large.
        return torch.mul(gradient, row_factor, out=squared).mul_(columns.rsqrt().unsqueeze(-2))


def _root_mean_square(values: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(values)
    return norm / math.sqrt(values.numel())
