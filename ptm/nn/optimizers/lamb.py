"""LAMB's update: Adam's, scaled to the norm of each parameter (You et al. 2020, version 3).

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


class LambUpdates(ParameterUpdates):
    """The paper's algorithm 2. The options are those of the recipe's `optimizer` block."""

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        learning_rate: float,
        states: Callable[[Shape], Mapping[str, Shape]],
        beta1: float,
        beta2: float,
        epsilon: float,
        bias_correction: bool,
        adapt_vectors: bool,
    ) -> None:
        super().__init__(groups, learning_rate=learning_rate, states=states)
        self._beta1, self._beta2 = beta1, beta2
        self._epsilon = epsilon
        self._bias_correction = bias_correction
        self._adapt_vectors = adapt_vectors

    def _update(
        self, parameter: Tensor, state: State, rate: float | Tensor, weight_decay: float
    ) -> None:
        update = self._adam(gradient_of(parameter), state)
        if weight_decay:
            update.add_(parameter, alpha=weight_decay)
        if parameter.dim() > 1 or self._adapt_vectors:
            update *= _trust_ratio(parameter, update)
        parameter -= update.mul_(rate)

    def _adam(self, gradient: Tensor, state: State) -> Tensor:
        """Update the moments with `gradient`; return Adam's update, without a learning rate."""
        first = state["exp_avg"].lerp_(gradient, 1 - self._beta1)
        second = state["exp_avg_sq"].mul_(self._beta2)
        second.addcmul_(gradient, gradient, value=1 - self._beta2)
        denominator = second.sqrt()
        if not self._bias_correction:
            return first / denominator.add_(self._epsilon)
        denominator /= bias_correction(self._beta2, state["step"]).sqrt()
        denominator += self._epsilon
        # Reuse the memory of `denominator`: a word embedding is large.
        update = torch.div(first, denominator, out=denominator)
        return update.div_(bias_correction(self._beta1, state["step"]))


def _trust_ratio(parameter: Tensor, update: Tensor) -> Tensor:
    """The norm of the parameter relative to that of its update; 1 if one of them is 0."""
    # In fp32, the norm of an embedding is off by some 1e-4.
    weights = torch.linalg.vector_norm(parameter, dtype=torch.float64)
    updates = torch.linalg.vector_norm(update, dtype=torch.float64)
    ratio = torch.where((weights > 0) & (updates > 0), weights / updates, 1.0)
    return ratio.to(update.dtype)
