"""The progress of a run."""

from __future__ import annotations

from dataclasses import dataclass

from ptm.engines.base import StepTotals


@dataclass(frozen=True)
class RunPosition:
    """Progress of a run: global batches and rows consumed; examples and tokens without
    padding."""

    step: int = 0
    row: int = 0
    examples: int = 0
    tokens: int = 0

    def after(self, totals: StepTotals, *, rows: int) -> RunPosition:
        """The position after one more step, of `rows` rows."""
        return RunPosition(
            step=self.step + 1,
            row=self.row + rows,
            examples=self.examples + totals.examples,
            tokens=self.tokens + totals.tokens,
        )
