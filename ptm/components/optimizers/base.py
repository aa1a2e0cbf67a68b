"""The base class of all optimizers: a frozen config that builds a torch optimizer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ptm.component import Config, NonNegativeFloat, PositiveFloat

if TYPE_CHECKING:
    import torch
    from torch import nn

Shape = tuple[int, ...]
Group = tuple[float, float]
"""Factor of the learning rate, and weight decay."""
RATE = "rate_factor"
"""Key of a parameter group: the factor of its learning rate."""


class Optimizer(Config):
    """Optimizer hyperparameters; the schedule is separate."""

    type: str
    learning_rate: PositiveFloat
    """Peak learning rate, which the schedule scales."""
    weight_decay: NonNegativeFloat = 0.01
    """Decoupled weight decay. Biases and norms do not decay."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """Layer-wise learning rate decay: the rate of a layer relative to that of the layer above."""

    rates: dict[str, PositiveFloat] | None = None
    """Factors of the learning rate by patterns of canonical parameter names, such as
    `{"classifier*": 10.0}`, beside that of `layer_decay`. The last pattern that matches a parameter
    counts; others have 1."""

    needs_whole_parameters: ClassVar[bool] = False
    """Whether the optimizer needs every parameter in its own shape. ZeRO cuts parameters into flat
    pieces, which does not allow that."""
    tested_on_nvme: ClassVar[bool] = False
    """Whether trainings with the optimizer state on NVMe are tested; refused otherwise."""

    def rate(self, step: int) -> float:
        """The learning rate of the update after `step` completed ones, before the schedule."""
        return self.learning_rate

    @abstractmethod
    def states(self, shape: Shape, *, hidden: bool = False) -> Mapping[str, Shape]:
        """The optimizer states of a parameter of `shape`, as in a checkpoint: name -> shape.

        `hidden`: whether it is a matrix of one of the model's repeated blocks.

        States have the parameter's shape; only an optimizer that `needs_whole_parameters` may have
        smaller ones.
        """

    @abstractmethod
    def build(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        rates: Mapping[str, float],
        *,
        hidden: Collection[str] = (),
    ) -> torch.optim.Optimizer:
        """Build the torch optimizer over named parameters; for `rates` see `groups`.

        `hidden`: the names of the matrices of the model's repeated blocks.

        The learning rate is overwritten before every update, from `rate` and the schedule.
        """

    def group_of(self, name: str, shape: Shape, rates: Mapping[str, float]) -> Group:
        """The learning-rate factor and the weight decay of a parameter."""
        return rates.get(name, 1.0), self.weight_decay if len(shape) > 1 else 0.0

    def groups(
        self, parameters: Iterable[tuple[str, nn.Parameter]], rates: Mapping[str, float]
    ) -> list[dict[str, Any]]:
        """Group the trainable parameters by weight decay and learning-rate factor.

        Weight decay applies to matrices, not to biases, norms and other vectors (Devlin et al.
        2018, A.2). `rates` maps names to learning-rate factors; the default is 1.
        """
        groups: dict[Group, list[nn.Parameter]] = {}
        for name, parameter in parameters:
            if not parameter.requires_grad:
                continue
            # Under ZeRO-3 the data of a parameter are partitioned; ds_shape is the whole shape.
            shape = getattr(parameter, "ds_shape", parameter.shape)
            groups.setdefault(self.group_of(name, shape, rates), []).append(parameter)
        # Highest learning-rate factor first; within one factor, matrices first.
        ordered = sorted(groups, key=lambda group: (-group[0], -group[1]))
        return [
            {"params": groups[rate, decay], "weight_decay": decay, RATE: rate}
            for rate, decay in ordered
        ]
