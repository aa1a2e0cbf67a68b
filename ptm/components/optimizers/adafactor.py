"""Adafactor: second moments by row and column (Shazeer and Stern 2018).

T5's optimizer: where AdamW keeps two numbers of every weight, this keeps two of every row and
column of a matrix. Section numbers are the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ptm.component import NonNegativeFloat, PositiveFloat
from ptm.components.optimizers.adamw import Beta
from ptm.components.optimizers.base import Optimizer, Shape

_ROWS, _COLUMNS, _ALL, _FIRST = "exp_avg_sq_row", "exp_avg_sq_col", "exp_avg_sq", "exp_avg"


class Adafactor(Optimizer):
    """As in the paper's algorithms 4 and 5, with the options of transformers' optimizer."""

    type: Literal["adafactor"]
    learning_rate: PositiveFloat = 1.0
    """Needed without `relative_step`; with it the step alone says the rate."""
    weight_decay: NonNegativeFloat = 0.0
    relative_step: bool = True
    """A rate of min(1e-2, 1 / sqrt(step)), before the schedule (section 9)."""
    warmup_init: bool = False
    """A relative step of min(1e-6 step, 1 / sqrt(step)) instead."""
    scale_parameter: bool = True
    """Multiply a parameter's rate by its root mean square, so that it is a relative one (8)."""
    clip_threshold: PositiveFloat = 1.0
    """The largest root mean square of a parameter's update, before its rate (section 6)."""
    decay_rate: Annotated[float, Field(ge=-1, lt=0)] = -0.8
    """Second moments decay by 1 - step ** decay_rate (section 7.2)."""
    epsilon1: PositiveFloat = 1e-30
    """Added to squared gradients."""
    epsilon2: PositiveFloat = 1e-3
    """The least that `scale_parameter` takes a root mean square for."""
    beta1: Beta | None = None
    """Keep a mean of the updates too, a number of every weight; none: do not."""

    needs_whole_parameters: ClassVar[bool] = True

    @model_validator(mode="after")
    def _one_thing_says_the_rate(self) -> Adafactor:
        if self.relative_step and self.learning_rate != 1.0:
            raise ValueError(
                f"learning_rate = {self.learning_rate:g} and relative_step = true both say the "
                "rate: leave learning_rate out, or set relative_step: false"
            )
        if not self.relative_step and "learning_rate" not in self.model_fields_set:
            raise ValueError("relative_step = false needs a learning_rate")
        if self.warmup_init and not self.relative_step:
            raise ValueError(
                "warmup_init = true is about the relative step, but relative_step = false: use "
                "schedule.warmup"
            )
        return self

    def rate(self, step: int) -> float:
        """The relative step of the update after `step` others, or the learning rate."""
        if not self.relative_step:
            return self.learning_rate
        largest = 1e-6 * (step + 1) if self.warmup_init else 1e-2
        return min(largest, 1 / math.sqrt(step + 1))

    def states(self, shape: Shape) -> Mapping[str, Shape]:
        """Rows and columns of a matrix (of the last two dimensions), every entry of a vector."""
        if len(shape) < 2:
            second = {_ALL: shape}
        else:
            second = {_ROWS: shape[:-1], _COLUMNS: (*shape[:-2], shape[-1])}
        return second if self.beta1 is None else {**second, _FIRST: shape}

    def build(
        self, parameters: Iterable[tuple[str, nn.Parameter]], rates: Mapping[str, float]
    ) -> torch.optim.Optimizer:
        """The optimizer; its learning rate is set anew before every step."""
        return _Updates(self.groups(parameters, rates), self)


class _Updates(torch.optim.Optimizer):
    """Follows the options of a recipe; waits for no number from the device."""

    def __init__(self, groups: list[dict[str, Any]], options: Adafactor) -> None:
        super().__init__(groups, {"lr": options.rate(0)})
        self._options = options

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient, each by itself."""
        assert closure is None, "losses are computed elsewhere"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group["lr"], group["weight_decay"])

    def _update(self, parameter: Tensor, rate: float | Tensor, weight_decay: float) -> None:
        options, state = self._options, self.state[parameter]
        if not state:
            for name, shape in options.states(tuple(parameter.shape)).items():
                state[name] = parameter.new_zeros(shape)
            state["step"] = parameter.new_zeros(())
        assert parameter.grad is not None
        update = self._normalised(parameter.grad, state)
        update /= (_root_mean_square(update) / options.clip_threshold).clamp_(min=1.0)
        if options.scale_parameter:
            rate = rate * _root_mean_square(parameter).clamp_(min=options.epsilon2)
        update *= rate
        if options.beta1 is not None:
            update = state[_FIRST].lerp_(update, 1 - options.beta1)
        if weight_decay:
            parameter *= 1 - weight_decay * rate
        parameter -= update

    def _normalised(self, gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        """The gradient by the root of its second moment, which takes it in."""
        state["step"] += 1
        newest = state["step"] ** self._options.decay_rate
        squared = gradient.square().add_(self._options.epsilon1)
        if _ALL in state:
            return torch.mul(gradient, state[_ALL].lerp_(squared, newest).rsqrt(), out=squared)
        rows = state[_ROWS].lerp_(squared.mean(dim=-1), newest)
        columns = state[_COLUMNS].lerp_(squared.mean(dim=-2), newest)
        of_rows = (rows / rows.mean(dim=-1, keepdim=True)).rsqrt_().unsqueeze(-1)
        # Into the memory of what is not needed any more: an embedding's gradient is large.
        return torch.mul(gradient, of_rows, out=squared).mul_(columns.rsqrt().unsqueeze(-2))


def _root_mean_square(values: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(values)
    return norm / math.sqrt(values.numel())
