"""LAMB (You et al. 2020, "Large batch optimization for deep learning", version 3)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from ptm.component import PositiveFloat
from ptm.components.optimizers.adamw import Beta
from ptm.components.optimizers.base import Optimizer, Shape

if TYPE_CHECKING:
    import torch
    from torch import nn


class Lamb(Optimizer):
    """Algorithm 2 of You et al. 2020: Adam's update, scaled to the norm of each parameter.

    The weight decay is part of the update that is scaled. The function phi is the identity.
    """

    type: Literal["lamb"]
    beta1: Beta = 0.9
    """Decay rate of the first moment."""
    beta2: Beta = 0.999
    """Decay rate of the second moment."""
    epsilon: PositiveFloat = 1e-6
    """Added to the root of the second moment."""
    bias_correction: bool = True
    """Divide the moments by 1 - beta ** step, as in the paper's algorithm and in apex's FusedLAMB.
    Google's code (lamb_optimizer.py of ALBERT) does not, and relies on the warm-up."""
    adapt_vectors: bool = False
    """Scale the updates of biases, norms and other vectors as well. The paper's algorithm does;
    Google's code and apex's FusedLAMB (without `use_nvlamb`) give these Adam's update."""

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
        from ptm.nn.optimizers.lamb import LambUpdates

        return LambUpdates(
            self.groups(parameters, rates),
            learning_rate=self.learning_rate,
            states=self.states,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            bias_correction=self.bias_correction,
            adapt_vectors=self.adapt_vectors,
        )
