"""How far a run is, and what its ranks tell each other before each step."""

from __future__ import annotations

from dataclasses import dataclass

from ptm.engines.base import StepTotals
from ptm.engines.ranks import Ranks, gathered
from ptm.loading.batches import StepBatch


@dataclass(frozen=True)
class Heard:
    """What the ranks told each other.

    `code`: the exit code if any rank was asked to stop. `saving`: how far each rank is with what
    is being saved.
    """

    totals: StepTotals
    code: int | None
    saving: tuple[float, ...]


def hear_all(batch: StepBatch, ranks: Ranks, *, code: int | None, saving: float) -> Heard:
    """Tell the others of this rank's `batch`, exit code and saving; called by all ranks.

    The engine asks the ranks once more, after the step, for its loss and gradient norm.
    """
    # The last stage sees the rows that the first has counted.
    counts = batch.counts if ranks.stage == 0 else dict.fromkeys(batch.counts, 0)
    every = gathered(
        {
            **{f"count {name}": float(count) for name, count in counts.items()},
            "examples": batch.examples if ranks.stage == 0 else 0,
            "tokens": batch.tokens if ranks.stage == 0 else 0,
            "capacity": batch.capacity,
            "code": -1 if code is None else code,
            "saving": saving,
        },
        ranks,
    )
    asked = int(max(row["code"] for row in every))
    totals = StepTotals(
        counts={name: sum(row[f"count {name}"] for row in every) for name in counts},
        capacity=int(max(row["capacity"] for row in every)),
        examples=int(sum(row["examples"] for row in every)),
        tokens=int(sum(row["tokens"] for row in every)),
    )
    return Heard(totals, asked if asked >= 0 else None, tuple(row["saving"] for row in every))


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
