"""Down to 0 in a straight line (Devlin et al. 2018, A.2)."""

from __future__ import annotations

from typing import Literal

from ptm.components.schedules.base import Schedule


class Linear(Schedule):
    """Down to 0 in a straight line (Devlin et al. 2018, A.2)."""

    type: Literal["linear"]

    def after_warmup(self, step: int, steps: int) -> float:
        """A straight line from 1 to 0."""
        return 1.0 - self.progress(step, steps)
