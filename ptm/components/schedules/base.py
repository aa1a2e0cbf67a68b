"""The base class of all learning-rate schedules: a function of the step, without state."""

from __future__ import annotations

from abc import abstractmethod

from ptm.component import Config, NonNegativeFloat


class Schedule(Config):
    """A linear warm-up from 0, then the curve of the subclass.

    `factor(step, steps)` is for the update made after `step` completed ones, as in transformers
    and UER-py: with a warm-up, the first update has the rate 0.
    """

    type: str
    warmup: NonNegativeFloat = 0.0
    """Length of the warm-up: below 1 a share of all steps, else a number of steps."""

    @staticmethod
    def to_steps(amount: float, steps: int) -> int:
        """`amount` as a number of steps; below 1 it is a share of `steps`."""
        return round(amount * steps) if amount < 1 else int(amount)

    def warmup_steps(self, steps: int) -> int:
        """The number of warm-up steps in a run of `steps`."""
        return self.to_steps(self.warmup, steps)

    def decay_steps(self, steps: int) -> int:
        """The number of steps reserved for a decay at the end of a run of `steps`."""
        return 0

    def factor(self, step: int, steps: int) -> float:
        """The factor of the learning rate after `step` of `steps` updates."""
        warmup = self.warmup_steps(steps)
        if step < warmup:
            return step / warmup
        return self.after_warmup(step, steps)

    @abstractmethod
    def after_warmup(self, step: int, steps: int) -> float:
        """The factor after `step` of `steps` updates, both including the warm-up."""

    def progress(self, step: int, steps: int) -> float:
        """The completed share (0 to 1) of the steps after the warm-up."""
        warmup = self.warmup_steps(steps)
        return min((step - warmup) / max(1, steps - warmup), 1.0)
