"""Down along half a cosine (Loshchilov and Hutter 2017, "SGDR")."""

from __future__ import annotations

import math
from typing import Literal

from ptm.component import Probability
from ptm.components.schedules.base import Schedule


class Cosine(Schedule):
    """Half a cosine from the full rate to `floor` of it."""

    type: Literal["cosine"]
    floor: Probability = 0.0

    def after_warmup(self, step: int, steps: int) -> float:
        """From 1 to `floor`."""
        height = 0.5 * (1 + math.cos(math.pi * self.progress(step, steps)))
        return self.floor + (1 - self.floor) * height
