"""A constant learning rate."""

from __future__ import annotations

from typing import Literal

from ptm.components.schedules.base import Schedule


class Constant(Schedule):
    """The full rate until the end, after the warm-up."""

    type: Literal["constant"]

    def after_warmup(self, step: int, steps: int) -> float:
        return 1.0
