"""Warm-up, stable, decay (Hu et al. 2024, "MiniCPM", section 4)."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import model_validator

from ptm.component import PositiveFloat, Probability
from ptm.components.schedules.base import Schedule


class Wsd(Schedule):
    """The full rate, and a decay to `floor` of it in the last steps.

    Until the decay no step knows how many there will be (with a warm-up given in steps), so that a
    training may be prolonged from a checkpoint before it.
    """

    type: Literal["wsd"]
    decay: PositiveFloat = 0.1
    """A share of all steps where below 1, else a number of steps."""
    shape: Literal["linear", "cosine", "sqrt"] = "sqrt"
    """`sqrt`: 1 - sqrt(share of the decay that is done) (Hägele et al. 2024, section 3)."""
    floor: Probability = 0.0

    @model_validator(mode="after")
    def _decay_is_whole(self) -> Wsd:
        if self.decay >= 1 and self.decay != int(self.decay):
            raise ValueError(
                f"decay = {self.decay:g} is neither a share (below 1) nor a whole number of steps"
            )
        return self

    def decay_steps(self, steps: int) -> int:
        """At least one, so that a training ends at the floor."""
        return max(1, self.counted(self.decay, steps))

    def after_warmup(self, step: int, steps: int) -> float:
        """1, then down to `floor`."""
        decay = self.decay_steps(steps)
        done = min(max(0.0, (step - (steps - decay)) / decay), 1.0)
        return self.floor + (1 - self.floor) * self._height(done)

    def _height(self, done: float) -> float:
        if self.shape == "cosine":
            return 0.5 * (1 + math.cos(math.pi * done))
        return 1.0 - (math.sqrt(done) if self.shape == "sqrt" else done)
