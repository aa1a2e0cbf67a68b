"""How far a run is."""

from __future__ import annotations

from dataclasses import dataclass

from ptm.engines.base import StepTotals


@dataclass(frozen=True)
class Position:
    """How far a run is: global batches and rows consumed, and real examples and tokens seen."""

    step: int = 0
    row: int = 0
    examples: int = 0
    tokens: int = 0

    def after(self, totals: StepTotals, *, rows: int) -> Position:
        """One step of `rows` rows further."""
        return Position(
            step=self.step + 1,
            row=self.row + rows,
            examples=self.examples + totals.examples,
            tokens=self.tokens + totals.tokens,
        )
