"""Polynomial decay (Liu et al. 2019, RoBERTa's fairseq)."""

from __future__ import annotations

from typing import Literal

from ptm.component import PositiveFloat, Probability
from ptm.components.schedules.base import Schedule


class Polynomial(Schedule):
    """Decay from the full rate to `floor` times it, by a power of the remaining share of steps."""

    type: Literal["polynomial"]
    power: PositiveFloat = 1.0
    """The exponent; 1 is linear."""
    floor: Probability = 0.0
    """The factor at the end."""

    def after_warmup(self, step: int, steps: int) -> float:
        left = 1.0 - self.progress(step, steps)
        return self.floor + (1 - self.floor) * float(left**self.power)
