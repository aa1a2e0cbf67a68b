"""fp16's loss scale at ZeRO 0, which DeepSpeed (0.19.8) leaves half done.

Its wrapper for an optimizer that is not its own divides the gradients by a scale that the loss was
never multiplied by, and in a step in which the scale doubles, by the doubled one. Without the cure
small gradients vanish, clipping never happens, and Adam's epsilon weighs more than it should.
"""

from __future__ import annotations

from typing import Any


class MissingLossScale:
    """Scales the loss of one engine, and lets its scale move only after the gradients are back."""

    def __init__(self, engine: Any, *, minimum: float) -> None:
        self._optimizer = engine.optimizer
        self._minimum = minimum
        self._move = self._optimizer._update_scale
        self._moves: list[bool] = []
        self._optimizer._update_scale = self._moves.append

    @property
    def value(self) -> float:
        """What to multiply the loss by."""
        return float(self._optimizer.loss_scale_config.cur_scale)

    def after_step(self) -> float:
        """Move the scale as the step demands; return the norm of the unscaled gradients."""
        norm = float(self._optimizer._global_grad_norm) / self.value
        for skipped in self._moves:
            if skipped and self.value <= self._minimum:
                raise OverflowError("loss scale already at minimum")
            self._move(skipped)
        self._moves.clear()
        return norm
