"""Down with the square root of the step (Vaswani et al. 2017, section 5.3)."""

from __future__ import annotations

import math
from typing import Literal

from ptm.component import PositiveInt
from ptm.components.schedules.base import Schedule

_WITHOUT_WARMUP = 10_000


class InverseSqrt(Schedule):
    """sqrt(k / (k + steps since the warm-up)), whatever the training's length.

    With k = the warm-up's steps that is Vaswani's sqrt(warmup / step).
    """

    type: Literal["inverse_sqrt"]
    timescale: PositiveInt | None = None
    """k; none: the steps of warm-up, or 10,000 without (T5's number: Raffel et al. 2020, 3.1.2)."""

    def after_warmup(self, step: int, steps: int) -> float:
        """From 1 down; half of it after 3 k steps."""
        warmup = self.warmup_steps(steps)
        timescale = self.timescale or warmup or _WITHOUT_WARMUP
        return math.sqrt(timescale / (timescale + step - warmup))
