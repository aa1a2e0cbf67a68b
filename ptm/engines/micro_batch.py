"""The choice of the rows per micro-batch where a recipe says `train.micro_batch_size: auto`."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ptm.engines.attention import attention_implementation
from ptm.engines.peak_memory import StepSettings, peak_bytes, state_bytes
from ptm.loading.batches import step_batch
from ptm.loading.training_rows import TrainingRows
from ptm.model.trainable import hidden_matrices
from ptm.plan import Plan
from ptm.rank_environment import local_rank, ranks_on_this_host
from ptm.recipe import BatchPlan, Recipe
from ptm.recipe.batch import CPU_TOKENS, most_rows_of, plan_with

GPU_TOKENS = 65_536
"""Most tokens of a micro-batch on a GPU. More do not make a step faster."""
_USABLE = 0.8
"""The share of the memory that is planned with; the rest is for fragments and workspaces."""
_CONTEXT = 2**30
"""Bytes that CUDA and its libraries need on a GPU, or Python and its libraries on a CPU."""
_PER_STAGE = 4
"""Micro-batches per step and pipeline stage, so that stages are idle for a fifth of the time."""
_MOST_ROWS_RUN = 32
"""Rows of the largest micro-batch that is run on the CPU for an estimate."""


@dataclass(frozen=True)
class MicroBatchChoice:
    """Chosen rows per micro-batch; `estimate`: bytes at the peak of a step, `memory`: of the
    device."""

    rows: int
    estimate: float
    memory: float

    def __str__(self) -> str:
        return (
            f"micro-batches of {self.rows} rows: an estimated {self.estimate / 1e9:.1f} of "
            f"{self.memory / 1e9:.0f} GB of memory"
        )


def choose_micro_batch(
    recipe: Recipe, plan: Plan, rows: TrainingRows, batch: BatchPlan, config: Mapping[str, Any]
) -> tuple[BatchPlan, MicroBatchChoice]:
    """The batch plan with the largest micro-batches that fit into the memory of this rank's device.

    They have at most `GPU_TOKENS` tokens on a GPU and `CPU_TOKENS` on CPUs, where larger ones are
    not faster, and at least one row. A pipeline stage holds several micro-batches, but of its own
    layers only, so it needs no more memory than the whole model for one. `batch`: any plan for the
    same ranks. `config`: that of DeepSpeed.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    memory = device_memory(device)
    usable = _USABLE * memory - _CONTEXT
    estimate = MemoryEstimate(recipe, plan, rows, config, ranks=batch.ranks, device=device)
    most = most_rows_of(GPU_TOKENS if device.type == "cuda" else CPU_TOKENS, recipe.row_size)
    share = batch.global_batch_size // batch.ranks
    stages = recipe.engine.pipeline_stages
    if stages > 1:
        most = min(most, max(1, share // (_PER_STAGE * stages)))
    sizes = [size for size in range(1, min(most, share) + 1) if share % size == 0]
    fitting = bisect_right(sizes, usable, key=estimate.peak)
    size = sizes[max(0, fitting - 1)]
    chosen = plan_with(batch, max_micro_batch_size=size)
    return chosen, MicroBatchChoice(size, estimate.peak(size), memory)


class MemoryEstimate:
    """The memory of a training step on one of `ranks` data-parallel ranks, by rows."""

    def __init__(
        self,
        recipe: Recipe,
        plan: Plan,
        rows: TrainingRows,
        config: Mapping[str, Any],
        *,
        ranks: int,
        device: torch.device,
    ) -> None:
        engine = recipe.engine
        self._plan, self._rows, self._objective = plan, rows, recipe.objective
        self._settings = StepSettings(
            precision=engine.precision,
            recompute=engine.activation_checkpointing,
            implementation=attention_implementation(engine, device),
            on_gpu=device.type == "cuda",
            # Recurrent and convolutional encoders arrange packed examples by their lengths.
            needs_values=not recipe.model.encoder.has_attention,
        )
        self.state = state_bytes(
            plan,
            recipe.optimizer,
            config,
            precision=engine.precision,
            ranks=ranks,
            hidden=frozenset(hidden_matrices(plan)),
        )

    def peak(self, rows: int) -> float:
        """Bytes at the peak of a step with micro-batches of `rows` rows."""
        run = min(rows, _MOST_ROWS_RUN) if self._settings.needs_values else rows
        parts = self._rows.micro_batches(np.arange(run, dtype=np.int64), size=run)
        apart = self._rows.packs_sides_apart
        tensors = step_batch(parts, self._objective, apart=apart).micro_batches[0]
        step = peak_bytes(self._plan, self._objective, tensors, self._settings)
        return self.state + step * rows / run


def device_memory(device: torch.device) -> float:
    """Bytes of memory of this rank's GPU, or its share of the memory of the host."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(local_rank()).total_memory)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return float(pages) / ranks_on_this_host()
