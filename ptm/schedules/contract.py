"""What every schedule is: a function of the step, without state."""

from __future__ import annotations

from abc import abstractmethod

from ptm.component import Config, NonNegativeFloat


class Schedule(Config):
    """Warms up linearly from 0, then follows its own curve.

    `factor(step, steps)` is for the update made after `step` completed ones, as in transformers
    and UER-py: with a warm-up, the very first update has a rate of 0.
    """

    type: str
    warmup: NonNegativeFloat = 0.0
    """A share of all steps where below 1, else a number of steps."""

    def warmup_steps(self, steps: int) -> int:
        """Steps of warm-up in a training of `steps`."""
        return round(self.warmup * steps) if self.warmup < 1 else int(self.warmup)

    def factor(self, step: int, steps: int) -> float:
        """What the learning rate is multiplied by after `step` of `steps` updates."""
        warmup = self.warmup_steps(steps)
        if step < warmup:
            return step / warmup
        progress = (step - warmup) / max(1, steps - warmup)
        return self.after_warmup(min(progress, 1.0))

    @abstractmethod
    def after_warmup(self, progress: float) -> float:
        """The factor when `progress` (0 to 1) of the steps after the warm-up are done."""
