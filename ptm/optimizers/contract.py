"""What every optimizer is: a frozen config that builds a torch optimizer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import nn

from ptm.component import Config, NonNegativeFloat, PositiveFloat


class Optimizer(Config):
    """How gradients become weights."""

    type: str
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat = 0.01

    state_keys: ClassVar[tuple[str, ...]]
    """Names of its per-element state, each of its parameter's shape: what a checkpoint keeps."""

    @abstractmethod
    def build(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
        """The optimizer over named parameters."""

    def groups(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> list[dict[str, Any]]:
        """Matrices decay; biases, norms and other vectors do not (Devlin et al. 2018, A.2)."""
        decayed: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for _, parameter in parameters:
            # Under ZeRO-3 a parameter keeps its shape in ds_shape while its data are elsewhere.
            shape = getattr(parameter, "ds_shape", parameter.shape)
            (decayed if len(shape) > 1 else others).append(parameter)
        groups = [
            {"params": decayed, "weight_decay": self.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]
