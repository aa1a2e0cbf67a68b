"""What every optimizer is: a frozen config that builds a torch optimizer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ptm.component import Config, NonNegativeFloat, PositiveFloat

if TYPE_CHECKING:
    import torch
    from torch import nn

Shape = tuple[int, ...]
RATE = "rate_factor"
"""A group's own share of the learning rate."""


class Optimizer(Config):
    """How gradients become weights."""

    type: str
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat = 0.01
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """What the learning rate is multiplied by from one layer to the one below it."""

    needs_whole_parameters: ClassVar[bool] = False
    """Whether it has to see parameters in their shape, which ZeRO cuts into flat pieces."""

    def rate(self, step: int) -> float:
        """The learning rate of the update after `step` others, before the schedule."""
        return self.learning_rate

    @abstractmethod
    def states(self, shape: Shape) -> Mapping[str, Shape]:
        """Name and shape of what it keeps of a parameter of `shape`, as a checkpoint does.

        All of that shape; smaller ones only where it `needs_whole_parameters`.
        """

    @abstractmethod
    def build(
        self, parameters: Iterable[tuple[str, nn.Parameter]], rates: Mapping[str, float]
    ) -> torch.optim.Optimizer:
        """The optimizer over named parameters; `rates`: see `groups`."""

    def groups(
        self, parameters: Iterable[tuple[str, nn.Parameter]], rates: Mapping[str, float]
    ) -> list[dict[str, Any]]:
        """Those that learn, by what they decay by and by their share of the learning rate.

        Matrices decay; biases, norms and other vectors do not (Devlin et al. 2018, A.2). `rates`:
        the share of every parameter by name, 1 where it has none.
        """
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in parameters:
            if not parameter.requires_grad:
                continue
            # Under ZeRO-3 a parameter keeps its shape in ds_shape while its data are elsewhere.
            shape = getattr(parameter, "ds_shape", parameter.shape)
            decay = self.weight_decay if len(shape) > 1 else 0.0
            groups.setdefault((rates.get(name, 1.0), decay), []).append(parameter)
        # Of one rate, the matrices first.
        ordered = sorted(groups, key=lambda group: (-group[0], -group[1]))
        return [
            {"params": groups[rate, decay], "weight_decay": decay, RATE: rate}
            for rate, decay in ordered
        ]
