"""Adafactor: second moments by row and column (Shazeer and Stern 2018).

T5's optimizer. AdamW stores two moments per weight; Adafactor stores one second moment per row and
per column of a matrix. Section numbers are the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ptm.component import NonNegativeFloat, PositiveFloat
from ptm.components.optimizers.adamw import Beta
from ptm.components.optimizers.base import Optimizer, Shape

if TYPE_CHECKING:
    import torch
    from torch import nn


class Adafactor(Optimizer):
    """Algorithms 4 and 5 of Shazeer and Stern 2018, with the options of transformers' Adafactor."""

    type: Literal["adafactor"]
    learning_rate: PositiveFloat = 1.0
    """Required with `relative_step: false`, else not allowed."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay. Biases and norms do not decay."""
    relative_step: bool = True
    """Use the learning rate min(1e-2, 1 / sqrt(step)), before the schedule (section 9)."""
    warmup_init: bool = False
    """Use min(1e-6 step, 1 / sqrt(step)) as the relative step instead."""
    scale_parameter: bool = True
    """Multiply the learning rate of a parameter by its root mean square, so that updates are
    relative to its size (section 8)."""
    clip_threshold: PositiveFloat = 1.0
    """Maximum root mean square of a parameter's update, before the learning rate (section 6)."""
    decay_rate: Annotated[float, Field(ge=-1, lt=0)] = -0.8
    """Second moments decay by 1 - step ** decay_rate (section 7.2)."""
    epsilon1: PositiveFloat = 1e-30
    """Added to squared gradients."""
    epsilon2: PositiveFloat = 1e-3
    """Lower bound of the root mean square in `scale_parameter`."""
    beta1: Beta | None = None
    """Decay of a running mean of the updates, one more value per weight; no mean if left out."""

    needs_whole_parameters: ClassVar[bool] = True

    @model_validator(mode="after")
    def _check_learning_rate(self) -> Adafactor:
        if self.relative_step and self.learning_rate != 1.0:
            raise ValueError(
                f"learning_rate = {self.learning_rate:g} and relative_step = true both set the "
                "learning rate. Remove learning_rate or set relative_step: false."
            )
        if not self.relative_step and "learning_rate" not in self.model_fields_set:
            raise ValueError("relative_step = false needs a learning rate. Set learning_rate.")
        if self.warmup_init and not self.relative_step:
            raise ValueError(
                "warmup_init = true needs relative_step: true, but relative_step is false. "
                "Remove warmup_init and set schedule.warmup."
            )
        return self

    def rate(self, step: int) -> float:
        if not self.relative_step:
            return self.learning_rate
        largest = 1e-6 * (step + 1) if self.warmup_init else 1e-2
        return min(largest, 1 / math.sqrt(step + 1))

    def states(self, shape: Shape, *, hidden: bool = False) -> Mapping[str, Shape]:
        # Per row and column of the last two dimensions of a matrix, per entry of a vector.
        if len(shape) < 2:
            second = {"exp_avg_sq": shape}
        else:
            second = {"exp_avg_sq_row": shape[:-1], "exp_avg_sq_col": (*shape[:-2], shape[-1])}
        return second if self.beta1 is None else {**second, "exp_avg": shape}

    def build(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        rates: Mapping[str, float],
        *,
        hidden: Collection[str] = (),
    ) -> torch.optim.Optimizer:
        from ptm.nn.optimizers.adafactor import AdafactorUpdates

        return AdafactorUpdates(
            self.groups(parameters, rates),
            learning_rate=self.rate(0),
            states=self.states,
            scale_parameter=self.scale_parameter,
            clip_threshold=self.clip_threshold,
            decay_rate=self.decay_rate,
            epsilon1=self.epsilon1,
            epsilon2=self.epsilon2,
            beta1=self.beta1,
        )
