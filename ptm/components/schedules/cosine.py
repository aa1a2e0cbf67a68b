"""Cosine decay (Loshchilov and Hutter 2017, "SGDR")."""

from __future__ import annotations

import math
from typing import Literal

from ptm.component import Probability
from ptm.components.schedules.base import Schedule


class Cosine(Schedule):
    """Decay along half a cosine, from the full rate to `floor` times it."""

    type: Literal["cosine"]
    floor: Probability = 0.0
    """The factor at the end."""

    def after_warmup(self, step: int, steps: int) -> float:
        height = 0.5 * (1 + math.cos(math.pi * self.progress(step, steps)))
        return self.floor + (1 - self.floor) * height
