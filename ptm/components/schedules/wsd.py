"""Warm-up, stable, decay (Hu et al. 2024, "MiniCPM", section 4)."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import model_validator

from ptm.component import PositiveFloat, Probability
from ptm.components.schedules.base import Schedule


class Wsd(Schedule):
    """The full rate, then a decay to `floor` times it in the last steps.

    Before the decay, the rate does not depend on the length of the run if the warm-up is given in
    steps. So a run can be prolonged from a checkpoint before the decay.
    """

    type: Literal["wsd"]
    decay: PositiveFloat = 0.1
    """Length of the decay: below 1 a share of all steps, else a number of steps."""
    shape: Literal["linear", "cosine", "sqrt"] = "sqrt"
    """The curve of the decay; `sqrt`: 1 - sqrt(completed share of the decay) (Hägele et al. 2024,
    section 3)."""
    floor: Probability = 0.0
    """The factor at the end."""

    @model_validator(mode="after")
    def _check_decay(self) -> Wsd:
        if self.decay >= 1 and self.decay != int(self.decay):
            raise ValueError(
                f"decay = {self.decay:g} is neither a share of all steps (below 1) nor a whole "
                "number of steps"
            )
        return self

    def decay_steps(self, steps: int) -> int:
        # At least one, so that a run ends at the floor.
        return max(1, self.to_steps(self.decay, steps))

    def after_warmup(self, step: int, steps: int) -> float:
        decay = self.decay_steps(steps)
        done = min(max(0.0, (step - (steps - decay)) / decay), 1.0)
        return self.floor + (1 - self.floor) * self._curve(done)

    def _curve(self, done: float) -> float:
        if self.shape == "cosine":
            return 0.5 * (1 + math.cos(math.pi * done))
        return 1.0 - (math.sqrt(done) if self.shape == "sqrt" else done)
