"""What every engine does: one step, one evaluation, one state."""

from __future__ import annotations

import math
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ptm.components.objectives import Objective
from ptm.components.optimizers.base import RATE
from ptm.engines.ds_config import clips_itself, zero_stage
from ptm.engines.fragments import EngineState
from ptm.engines.loss import normalised, zeros
from ptm.engines.offload import offload_folders
from ptm.engines.ranks import Ranks, barrier, summed
from ptm.engines.teachers import Teachers
from ptm.errors import TrainingError
from ptm.loading.batches import StepBatch
from ptm.model.trainable import frozen_parameters, rate_factors
from ptm.plan import Plan
from ptm.recipe import BatchPlan, Recipe
from ptm.recipe.blocks import EngineBlock
from ptm.rng import seed_of


@dataclass(frozen=True)
class StepTotals:
    """What the ranks know of a step together, before it is made.

    `counts`: what the objective's metrics are divided by. `capacity`: entries that the padded
    tensors of every micro-batch need. `examples`, `tokens`: of all data ranks.
    """

    counts: Mapping[str, float]
    capacity: int
    examples: int
    tokens: int


@dataclass(frozen=True)
class StepResult:
    """What a step measured.

    `shares`: this rank's share of every metric of the objective, of the loss and of the gradient's
    norm; the ranks' shares add up to the value. Scalars on the device, so that nobody waits for
    them before they are reported. `skipped`: the gradients were not finite, nothing was updated.
    `loss`, `grad_norm`: of the whole batch.
    """

    shares: Mapping[str, Tensor]
    skipped: bool
    loss: float
    grad_norm: float


class Engine(ABC):
    """A model in training."""

    def __init__(
        self,
        recipe: Recipe,
        plan: Plan,
        config: dict[str, Any],
        batch: BatchPlan,
        ranks: Ranks,
        *,
        teachers: Teachers | None = None,
    ) -> None:
        self._objective: Objective = recipe.objective
        self._teachers = teachers
        if teachers is not None:
            teachers.prepare(ranks.device, recipe.engine.precision)
        self._seed = recipe.seed
        self._batch = batch
        self._ranks = ranks
        self._stage = zero_stage(config)
        self._clipping = recipe.train.gradient_clipping
        self._clips_itself = clips_itself(recipe.engine, self._stage)
        self._folders = offload_folders(config)
        self._frozen = frozen_parameters(plan, recipe.train.freeze)
        decay = recipe.optimizer.layer_decay
        self._rates = {} if decay is None else rate_factors(plan, decay)
        self._optimizer = recipe.optimizer
        self._deepspeed = self._started(recipe.engine, plan, config)
        self.state = EngineState(
            self._deepspeed,
            plan=plan,
            names=self._canonical_names(plan),
            stage=self._stage,
            ranks=ranks,
            optimizer_states=recipe.optimizer.states,
        )
        if self._stage == 0 and recipe.engine.precision != "fp32":
            self.state.forget_dummy_updates()

    @abstractmethod
    def _started(self, block: EngineBlock, plan: Plan, config: dict[str, Any]) -> Any:
        """DeepSpeed's engine; the weights are set later."""

    def _built_optimizer(self, named: Iterable[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
        """The recipe's, over the parameters that learn; the others are frozen by this."""
        parameters = dict(named)
        for name, parameter in parameters.items():
            parameter.requires_grad_(name not in self._frozen)
        return self._optimizer.build(parameters.items(), self._rates)

    @abstractmethod
    def _canonical_names(self, plan: Plan) -> Mapping[str, str]:
        """The canonical name of every parameter that is held here, by its own."""

    @abstractmethod
    def _run(self, batch: StepBatch, totals: StepTotals) -> dict[str, Tensor]:
        """Forward, backward and update; this rank's sums of shares."""

    @abstractmethod
    def sums(self, batches: Iterable[StepBatch]) -> dict[str, float]:
        """Every metric's sum over the rows of `batches`, as far as this rank saw them.

        Without gradients; all ranks call it, with as many batches each.
        """

    @property
    def state_is_in_memory(self) -> bool:
        """Whether a copy of what is saved costs no more than memory: not so with NVMe."""
        return not self._folders

    def close(self) -> None:
        """Remove what was offloaded to disk; called by all ranks when the training has ended."""
        if self._folders:
            barrier(self._ranks)
        for folder in self._folders if self._ranks.first_on_host else ():
            shutil.rmtree(folder, ignore_errors=True)

    def train_step(
        self,
        batch: StepBatch,
        totals: StepTotals,
        *,
        step: int,
        learning_rate: float,
        loss_limit: float = math.inf,
    ) -> StepResult:
        """One update from one global batch; `step` counts the batches before it.

        A step whose gradients are not finite, or whose loss is above `loss_limit`, updates
        nothing. Raises TrainingError where fp16 cannot go on.
        """
        self._loss_limit = loss_limit
        self._weights = self._objective.weights_at(step)
        scaler = self.state.scaler_state()
        self._deepspeed.train()
        # Dropout depends on the step and the rank alone, not on how the run came here.
        torch.manual_seed(seed_of(self._seed, "dropout", step, self._ranks.rank))
        for group in self._deepspeed.optimizer.param_groups:
            group["lr"] = learning_rate * group[RATE]
        skipped_before = self._deepspeed.skipped_steps
        try:
            shares = self._run(batch, totals)
        except Exception as error:
            if "loss scale already at minimum" not in str(error):
                raise
            raise TrainingError(
                f"step {step + 1}: fp16 gradients overflow even with the smallest loss scale "
                f"({self.state.loss_scale:g}), so nothing more can be learnt in fp16 from here. "
                "Lower optimizer.learning_rate, train longer warm-up, or set engine.precision: "
                "bf16; the run goes on from its newest checkpoint."
            ) from error
        skipped = self._deepspeed.skipped_steps > skipped_before
        if skipped:
            shares["grad_norm"] = torch.zeros(())
        elif "grad_norm" not in shares:
            norm = self._deepspeed.get_global_grad_norm()
            shares["grad_norm"] = torch.as_tensor(norm, dtype=torch.float32)
        shares["grad_norm"] = shares["grad_norm"] / self._ranks.world
        mine = {name: float(shares[name]) for name in ("loss", "grad_norm")}
        whole = summed(mine, self._ranks)
        if skipped and whole["loss"] > loss_limit:
            # The gradients were made to overflow: that says nothing about the scale.
            self.state.set_scaler(scaler)
        return StepResult(shares, skipped, whole["loss"], whole["grad_norm"])

    def _fit_to_learn(
        self, loss: Tensor, before: Tensor | float, group: Any | None = None
    ) -> Tensor:
        """The last micro-batch's `loss`; an infinite one if the step's is above its limit.

        `before`: what the other micro-batches came to on this rank. `group`: the ranks that see
        losses, where it is not all of them.
        """
        if not math.isfinite(self._loss_limit):
            return loss
        total = torch.as_tensor(loss.detach() + before, dtype=torch.float64).cpu()
        if self._ranks.data_ranks > 1:
            dist.all_reduce(total, group=group)
        return loss if float(total) <= self._loss_limit else loss * math.inf

    def _shares(
        self,
        outputs: Mapping[str, Tensor],
        tensors: Mapping[str, Tensor],
        counts: Mapping[str, float],
    ) -> dict[str, Tensor]:
        """A micro-batch's share of each metric's mean over the global batch, and of the loss."""
        sums = self._objective.sums(outputs, tensors)
        return normalised(sums, counts, self._objective, self._weights)

    def _no_shares(self) -> dict[str, Tensor]:
        return zeros(self._objective, self._ranks.device)
