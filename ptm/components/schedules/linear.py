"""Linear decay (Devlin et al. 2018, A.2)."""

from __future__ import annotations

from typing import Literal

from ptm.components.schedules.base import Schedule


class Linear(Schedule):
    """Linear decay from the full rate to 0."""

    type: Literal["linear"]

    def after_warmup(self, step: int, steps: int) -> float:
        return 1.0 - self.progress(step, steps)
