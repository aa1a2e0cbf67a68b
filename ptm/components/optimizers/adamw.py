"""AdamW (Loshchilov and Hutter 2019, "Decoupled weight decay regularization")."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ptm.component import PositiveFloat
from ptm.components.optimizers.base import Optimizer, Shape

if TYPE_CHECKING:
    import torch
    from torch import nn

Beta = Annotated[float, Field(ge=0, lt=1)]


class AdamW(Optimizer):
    """torch's fused AdamW, with moments in fp32."""

    type: Literal["adamw"]
    beta1: Beta = 0.9
    """Decay rate of the first moment."""
    beta2: Beta = 0.999
    """Decay rate of the second moment."""
    epsilon: PositiveFloat = 1e-8
    """Added to the root of the second moment."""

    tested_on_nvme: ClassVar[bool] = True

    def states(self, shape: Shape, *, hidden: bool = False) -> Mapping[str, Shape]:
        return {"exp_avg": shape, "exp_avg_sq": shape}

    def build(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        rates: Mapping[str, float],
        *,
        hidden: Collection[str] = (),
    ) -> torch.optim.Optimizer:
        import torch

        return torch.optim.AdamW(
            self.groups(parameters, rates),
            lr=self.learning_rate,
            betas=(self.beta1, self.beta2),
            eps=self.epsilon,
            fused=True,
        )
