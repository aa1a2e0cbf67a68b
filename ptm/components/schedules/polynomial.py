"""Down along a power of what is left to do (Liu et al. 2019, RoBERTa's fairseq)."""

from __future__ import annotations

from typing import Literal

from ptm.component import PositiveFloat, Probability
from ptm.components.schedules.base import Schedule


class Polynomial(Schedule):
    """A power of the share of steps that is left, from the full rate to `floor` of it."""

    type: Literal["polynomial"]
    power: PositiveFloat = 1.0
    floor: Probability = 0.0

    def after_warmup(self, step: int, steps: int) -> float:
        """From 1 to `floor`."""
        left = 1.0 - self.progress(step, steps)
        return self.floor + (1 - self.floor) * float(left**self.power)
