"""Decay with the inverse square root of the step (Vaswani et al. 2017, section 5.3)."""

from __future__ import annotations

import math
from typing import Literal

from ptm.component import PositiveInt
from ptm.components.schedules.base import Schedule

_WITHOUT_WARMUP = 10_000


class InverseSqrt(Schedule):
    """sqrt(k / (k + steps since the warm-up)), independent of the length of the run.

    If k is the number of warm-up steps, this is Vaswani's sqrt(warmup / step). The factor is 1/2
    after 3 k steps.
    """

    type: Literal["inverse_sqrt"]
    timescale: PositiveInt | None = None
    """k; by default the number of warm-up steps, or 10,000 without a warm-up, as in T5 (Raffel et
    al. 2020, section 3.1.2)."""

    def after_warmup(self, step: int, steps: int) -> float:
        warmup = self.warmup_steps(steps)
        timescale = self.timescale or warmup or _WITHOUT_WARMUP
        return math.sqrt(timescale / (timescale + step - warmup))
