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

    @staticmethod
    def counted(amount: float, steps: int) -> int:
        """Steps in `amount`, which is a share of `steps` where it is below 1, else their number."""
        return round(amount * steps) if amount < 1 else int(amount)

    def warmup_steps(self, steps: int) -> int:
        """Steps of warm-up in a training of `steps`."""
        return self.counted(self.warmup, steps)

    def decay_steps(self, steps: int) -> int:
        """Steps that are kept free at the end of a training of `steps`, for the rate to go down."""
        return 0

    def factor(self, step: int, steps: int) -> float:
        """What the learning rate is multiplied by after `step` of `steps` updates."""
        warmup = self.warmup_steps(steps)
        if step < warmup:
            return step / warmup
        return self.after_warmup(step, steps)

    @abstractmethod
    def after_warmup(self, step: int, steps: int) -> float:
        """The factor after `step` of `steps` updates, those of the warm-up included."""

    def progress(self, step: int, steps: int) -> float:
        """Which share (0 to 1) of the steps after the warm-up is done."""
        warmup = self.warmup_steps(steps)
        return min((step - warmup) / max(1, steps - warmup), 1.0)
