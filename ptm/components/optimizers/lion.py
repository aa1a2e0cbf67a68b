"""Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms")."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from ptm.components.optimizers.adamw import Beta
from ptm.components.optimizers.base import Optimizer, Shape

if TYPE_CHECKING:
    import torch
    from torch import nn


class Lion(Optimizer):
    """Algorithm 2 of Chen et al. 2023: the sign of an average of gradients, one value per weight.

    All updates have the size of the learning rate. The paper recommends a learning rate 3 to 10
    times smaller than AdamW's, a weight decay larger by the same factor, and beta1 = 0.95 with
    beta2 = 0.98 if the training is unstable (section 5).
    """

    type: Literal["lion"]
    beta1: Beta = 0.9
    """Weight of the running mean in the update, against the newest gradient."""
    beta2: Beta = 0.99
    """Decay rate of the running mean of gradients."""

    def states(self, shape: Shape, *, hidden: bool = False) -> Mapping[str, Shape]:
        return {"exp_avg": shape}

    def build(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        rates: Mapping[str, float],
        *,
        hidden: Collection[str] = (),
    ) -> torch.optim.Optimizer:
        from ptm.nn.optimizers.lion import LionUpdates

        return LionUpdates(
            self.groups(parameters, rates),
            learning_rate=self.learning_rate,
            states=self.states,
            beta1=self.beta1,
            beta2=self.beta2,
        )
