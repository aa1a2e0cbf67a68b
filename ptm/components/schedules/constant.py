"""The full rate to the end."""

from __future__ import annotations

from typing import Literal

from ptm.components.schedules.base import Schedule


class Constant(Schedule):
    """The full rate to the end."""

    type: Literal["constant"]

    def after_warmup(self, step: int, steps: int) -> float:
        """Always 1."""
        return 1.0
