"""DeepSpeed's engine around the plain model: one step, one evaluation, one state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import deepspeed
import torch
from torch import Tensor

from ptm.model.build import PlainModel, empty_model, initialise
from ptm.objectives import Objective
from ptm.plan import Plan
from ptm.recipe import BatchPlan, Recipe
from ptm.rng import seed_of
from ptm.train.distributed import Ranks, summed
from ptm.train.ds_config import clips_itself, zero_stage
from ptm.train.fragments import EngineState
from ptm.train.means import evaluation_means
from ptm.train.rows import StepBatch


@dataclass(frozen=True)
class StepResult:
    """What a step measured.

    `shares`: this rank's share of every metric of the objective, of the loss and of the gradient's
    norm; the ranks' shares add up to the value. Scalars on the device, so that nobody waits for
    them before they are reported. `examples`, `tokens`: of all ranks.
    """

    shares: Mapping[str, Tensor]
    examples: int
    tokens: int


class Engine:
    """A model in training under ZeRO 0-3."""

    def __init__(
        self, recipe: Recipe, plan: Plan, config: dict[str, Any], batch: BatchPlan, ranks: Ranks
    ) -> None:
        self._objective: Objective = recipe.objective
        self._seed = recipe.seed
        self._batch = batch
        self._ranks = ranks
        self._stage = zero_stage(config)
        model = empty_model(plan)
        initialise(model, recipe.model, seed=recipe.seed)
        optimizer = recipe.optimizer.build(model.named_parameters())
        self._clipping = recipe.train.gradient_clipping
        self._clips_itself = clips_itself(recipe, self._stage)
        self._deepspeed: Any = deepspeed.initialize(
            model=model, optimizer=optimizer, config=config, dist_init_required=False
        )[0]
        self.state = EngineState(
            self._deepspeed,
            stage=self._stage,
            rank=ranks.rank,
            state_keys=recipe.optimizer.state_keys,
        )
        if self._stage == 0 and recipe.engine.precision != "fp32":
            self.state.forget_dummy_updates()

    @property
    def model(self) -> PlainModel:
        """The module itself."""
        module: PlainModel = self._deepspeed.module
        return module

    def train_step(self, batch: StepBatch, *, step: int, learning_rate: float) -> StepResult:
        """One update from one global batch; `step` counts the batches before it."""
        self._deepspeed.train()
        # Dropout depends on the step and the rank alone, not on how the run came here.
        torch.manual_seed(seed_of(self._seed, "dropout", step, self._ranks.rank))
        for group in self._deepspeed.optimizer.param_groups:
            group["lr"] = learning_rate
        seen = {"examples": batch.examples, "tokens": batch.tokens}
        counts = summed({**batch.counts, **seen}, self._ranks)
        # DeepSpeed divides by the accumulation and averages over the ranks.
        scale = self._batch.accumulation * self._batch.ranks
        totals: dict[str, Tensor] = {}
        for micro_batch in batch.micro_batches:
            values = self._forward(micro_batch, counts)
            self._deepspeed.backward(values["loss"] * scale)
            if self._clips_itself and self._deepspeed.is_gradient_accumulation_boundary():
                totals["grad_norm"] = self._clip_gradients()
            self._deepspeed.step()
            for name, value in values.items():
                value = value.detach()
                totals[name] = totals[name] + value if name in totals else value
        if not self._clips_itself:
            norm = self._deepspeed.get_global_grad_norm()
            totals["grad_norm"] = torch.as_tensor(norm, dtype=torch.float32)
        totals["grad_norm"] = totals["grad_norm"] / self._ranks.world
        return StepResult(totals, int(counts["examples"]), int(counts["tokens"]))

    def _forward(
        self, tensors: Mapping[str, Tensor], counts: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Each metric's share of its mean over the global batch, and the weighted loss."""
        moved = {
            name: tensor.to(self._ranks.device, non_blocking=True)
            for name, tensor in tensors.items()
        }
        sums = self._objective.sums(self._deepspeed(moved), moved)
        values = {
            metric.name: sums[metric.name] / max(1.0, counts[metric.count])
            for metric in self._objective.metrics
        }
        loss = sum(
            (
                metric.weight * values[metric.name]
                for metric in self._objective.metrics
                if metric.weight
            ),
            start=torch.zeros((), device=self._ranks.device),
        )
        return {"loss": loss, **values}

    def _clip_gradients(self) -> Tensor:
        """Clip to the recipe's norm as DeepSpeed does from stage 1 on; return the norm before."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norms = [torch.linalg.vector_norm(g, dtype=torch.float64) for g in gradients]
        norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
        if self._clipping > 0:
            scale = torch.clamp(self._clipping / (norm + 1e-6), max=1.0).float()
            torch._foreach_mul_(gradients, scale)
        return norm.float()

    def evaluate(self, batches: Iterable[StepBatch]) -> dict[str, float]:
        """Every metric's mean over all `batches`, and the loss."""
        self._deepspeed.eval()
        return evaluation_means(self._deepspeed, self._objective, batches, self._ranks.device)
