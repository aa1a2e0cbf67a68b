"""StableAdamW (Wortsman et al. 2023, "Stable and low-precision training for ... models")."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from ptm.component import PositiveFloat
from ptm.components.optimizers.adamw import Beta
from ptm.components.optimizers.base import Optimizer, Shape

if TYPE_CHECKING:
    import torch
    from torch import nn


class StableAdamW(Optimizer):
    """Algorithm 2 of Wortsman et al. 2023: AdamW with Adafactor's update clipping.

    The learning rate of a parameter is divided by the root mean square of gradient^2 / second
    moment if that is above 1: if gradients are far larger than before, the second moment is too
    small for them, and AdamW's update would be too large. This replaces gradient clipping
    (`train.gradient_clipping: 0`).
    """

    type: Literal["stable_adamw"]
    beta1: Beta = 0.9
    """Decay rate of the first moment."""
    beta2: Beta = 0.99
    """Decay rate of the second moment."""
    epsilon: PositiveFloat = 1e-6
    """Added to the root of the second moment."""

    needs_whole_parameters: ClassVar[bool] = True

    def states(self, shape: Shape, *, hidden: bool = False) -> Mapping[str, Shape]:
        return {"exp_avg": shape, "exp_avg_sq": shape}

    def build(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        rates: Mapping[str, float],
        *,
        hidden: Collection[str] = (),
    ) -> torch.optim.Optimizer:
        from ptm.nn.optimizers.stable_adamw import StableAdamWUpdates

        return StableAdamWUpdates(
            self.groups(parameters, rates),
            learning_rate=self.learning_rate,
            states=self.states,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
        )
