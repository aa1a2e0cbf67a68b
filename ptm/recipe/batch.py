"""Batch arithmetic: the recipe fixes the global batch, whatever the number of ranks."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ptm.errors import UserError
from ptm.rank_environment import launched_ranks
from ptm.recipe.blocks import EngineBlock, TrainBlock

if TYPE_CHECKING:
    from ptm.data.packing import RowSize

CPU_TOKENS = 4096
"""Most tokens of an `auto` micro-batch on a CPU. More do not make a step faster."""


@dataclass(frozen=True)
class BatchPlan:
    """Rows per step = data-parallel ranks x gradient accumulation x rows per micro-batch."""

    global_batch_size: int
    ranks: int
    accumulation: int
    micro_batch_size: int

    def __str__(self) -> str:
        return (
            f"{self.global_batch_size} rows = {self.ranks} data-parallel "
            f"{'rank' if self.ranks == 1 else 'ranks'} x {self.accumulation} accumulated x "
            f"{self.micro_batch_size} per micro-batch"
        )


def data_parallel_ranks(stages: int, ranks: int | None = None) -> int:
    """Data-parallel size of `ranks` ranks, by default of the launched ranks.

    Without a launcher there is one rank per stage. Raises UserError if the number of ranks is not a
    multiple of the stages.
    """
    if ranks is None:
        if "WORLD_SIZE" not in os.environ:
            return 1
        ranks = launched_ranks()
    if ranks % stages:
        raise UserError(
            f"engine.pipeline_stages = {stages}: {ranks} ranks do not divide evenly into {stages} "
            f"stages. Start a multiple of {stages} ranks (`ptm launch --num-gpus {stages} "
            "RECIPE`) or set another number of stages."
        )
    return ranks // stages


def batch_plan(*, global_batch_size: int, max_micro_batch_size: int, ranks: int) -> BatchPlan:
    """The plan with the least accumulation whose micro-batches hold at most `max_micro_batch_size`
    rows.

    Raises UserError if the global batch does not divide over the ranks.
    """
    if global_batch_size % ranks:
        lower, upper = (
            global_batch_size - global_batch_size % ranks,
            global_batch_size + ranks - global_batch_size % ranks,
        )
        fix = f"{lower} or {upper}" if lower else f"{upper}"
        fewer = max(n for n in range(1, ranks) if global_batch_size % n == 0)
        raise UserError(
            f"train.global_batch_size = {global_batch_size} is not a multiple of the {ranks} "
            f"data-parallel ranks ({global_batch_size} / {ranks} = "
            f"{global_batch_size / ranks:.3f} rows per rank). Set it to {fix}, or start {fewer} "
            f"rank{'s' if fewer > 1 else ''}."
        )
    rows = global_batch_size // ranks
    divisors = (n for n in range(1, math.isqrt(rows) + 1) if rows % n == 0)
    accumulation = min(
        one for n in divisors for one in (n, rows // n) if rows // one <= max_micro_batch_size
    )
    return BatchPlan(global_batch_size, ranks, accumulation, rows // accumulation)


def plan_with(plan: BatchPlan, *, max_micro_batch_size: int) -> BatchPlan:
    """The plan of the same global batch and ranks with smaller or larger micro-batches."""
    return batch_plan(
        global_batch_size=plan.global_batch_size,
        max_micro_batch_size=max_micro_batch_size,
        ranks=plan.ranks,
    )


def most_rows_of(tokens: int, row: RowSize) -> int:
    """The most rows of size `row` with at most `tokens` tokens on either side; at least 1."""
    return max(1, tokens // max(row.source, row.target))


def batches_of(train: TrainBlock, engine: EngineBlock, *, ranks: int | None = None) -> BatchPlan:
    """The recipe's batch plan over `ranks` ranks, by default over those that a launcher started.

    With micro-batches of `auto` size, it has one micro-batch per step: their size is chosen where
    the model and the device are known.
    """
    size = train.micro_batch_size
    return batch_plan(
        global_batch_size=train.global_batch_size,
        max_micro_batch_size=train.global_batch_size if size == "auto" else size,
        ranks=data_parallel_ranks(engine.pipeline_stages, ranks),
    )


def total_steps(train: TrainBlock, rows: int) -> int:
    """Steps of the whole training; `rows`: rows per epoch."""
    if train.steps is not None:
        return train.steps
    assert train.epochs is not None, "a recipe has either steps or epochs"
    return max(1, math.ceil(train.epochs * rows / train.global_batch_size))
