"""Base class of the training engines: training step, evaluation and engine state."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ptm.components.objectives import Objective
from ptm.components.optimizers.base import RATE
from ptm.engines.deepspeed import restore_linear
from ptm.engines.ds_config import clips_itself, zero_stage
from ptm.engines.fragments import EngineState
from ptm.engines.loss import scaled_metrics, unmeasured_metrics, zero_metrics
from ptm.engines.metric_sums import EvaluationResult
from ptm.engines.offload import offload_folders
from ptm.engines.predictions import Predictions, Reduce
from ptm.engines.ranks import Ranks, all_reduce_sum, barrier
from ptm.engines.teachers import Teachers
from ptm.errors import TrainingError, UserError
from ptm.files.kinds import OFFLOAD
from ptm.files.ownership import remove_folder
from ptm.loading.batches import StepBatch
from ptm.model.trainable import hidden_matrices, rate_factors, untrained_parameters
from ptm.nn.packed_examples import PackedExamples, PackedShape
from ptm.plan import Plan
from ptm.recipe import BatchPlan, Recipe
from ptm.recipe.blocks import EngineBlock
from ptm.rng import seed_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepTotals:
    """Totals of one global batch over all data ranks, all-reduced before the step.

    `counts`: denominators of the objective's metrics, by name. `capacity`: common size of the
    padded tensors of all micro-batches. `flops`, `recomputed_flops`: operations that the model
    needs, and those of activations that are computed a second time.
    """

    counts: Mapping[str, float]
    capacity: int
    examples: int
    tokens: int
    flops: float = 0.0
    recomputed_flops: float = 0.0
    packed_shape: PackedShape | None = None
    """The shape of the packed rows of all micro-batches."""


@dataclass(frozen=True)
class StepResult:
    """Measurements of one training step.

    `local_metrics`: this rank's summand of the loss, of the gradient norm and of every metric of
    the objective; the sum over all ranks is the value. Scalars stay on the device, so that reading
    them does not synchronise before the next report. `skipped`: the gradients were not finite and
    no weight was updated. `loss`, `grad_norm`: values of the global batch.
    """

    local_metrics: Mapping[str, Tensor]
    skipped: bool
    loss: float
    grad_norm: float
    unmeasured: frozenset[str] = frozenset()
    """Metrics over nothing, such as the loss of a batch without a token to predict."""


class Engine(ABC):
    """A model in training under DeepSpeed; subclasses run it whole or as a pipeline."""

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
        self._frozen = untrained_parameters(plan, recipe)
        self._rates = rate_factors(plan, recipe.optimizer, frozen=self._frozen)
        self._hidden = hidden_matrices(plan)
        self._packed = PackedExamples()
        self._optimizer = recipe.optimizer
        self._deepspeed = self._build_engine(recipe.engine, plan, config)
        self.state = EngineState(
            self._deepspeed,
            plan=plan,
            names=self._canonical_names(plan),
            stage=self._stage,
            ranks=ranks,
            optimizer_states=self._optimizer_states,
        )
        if self._stage == 0 and recipe.engine.precision != "fp32":
            self.state.forget_dummy_updates()

    @abstractmethod
    def _build_engine(self, block: EngineBlock, plan: Plan, config: dict[str, Any]) -> Any:
        """Build the DeepSpeed engine and set `_packed`; weights are set later through `state`."""

    def _built_optimizer(self, named: Iterable[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
        """Freeze parameters by `train.freeze`; return the recipe's optimizer over the others."""
        parameters = dict(named)
        for name, parameter in parameters.items():
            parameter.requires_grad_(name not in self._frozen)
        return self._optimizer.build(parameters.items(), self._rates, hidden=self._hidden)

    def _optimizer_states(self, name: str, shape: tuple[int, ...]) -> Mapping[str, tuple[int, ...]]:
        """The optimizer's states of a parameter by canonical name: state name -> shape."""
        return self._optimizer.states(shape, hidden=name in self._hidden)

    @abstractmethod
    def _canonical_names(self, plan: Plan) -> Mapping[str, str]:
        """Map the name of each of this rank's module parameters to its canonical name."""

    @abstractmethod
    def _forward_backward(self, batch: StepBatch, totals: StepTotals) -> dict[str, Tensor]:
        """Run forward, backward and update; return this rank's metrics (see StepResult)."""

    @abstractmethod
    def evaluate(self, batches: Iterable[StepBatch]) -> EvaluationResult:
        """Return this rank's metric sums and predictions over `batches`, without gradients.

        Collective: all ranks call it with the same number of batches.
        """

    @abstractmethod
    def infer(self, batch: StepBatch, reduce: Reduce, *, plan: Plan | None = None) -> Predictions:
        """Return what `reduce` keeps of the outputs for the only micro-batch of `batch`.

        Without gradients and dropout. `plan`: another plan of the same modules; its outputs replace
        those that the loss is computed from. Collective: all ranks give the same batch and get the
        same arrays.
        """

    @property
    def state_is_in_memory(self) -> bool:
        """Whether all state is in memory, so that a save can copy it first; False with NVMe."""
        return not self._folders

    def close(self) -> None:
        """Leave nothing behind: neither files of NVMe offload nor ZeRO 3's change of torch.

        Collective; called once training has ended.
        """
        restore_linear()
        if self._folders:
            barrier(self._ranks)
        for folder in self._folders if self._ranks.is_local_main else ():
            try:
                remove_folder(folder, OFFLOAD)
            except FileNotFoundError:
                continue
            except (OSError, UserError) as error:
                logger.warning("the files of NVMe offload stay on disk: %s", error)

    def train_step(
        self,
        batch: StepBatch,
        totals: StepTotals,
        *,
        step: int,
        learning_rate: float,
        loss_limit: float = math.inf,
    ) -> StepResult:
        """Make one update from one global batch; `step` is the number of earlier batches.

        A step updates nothing if its gradients are not finite or its loss is above `loss_limit`.
        Raises TrainingError if fp16 gradients overflow at the minimum loss scale.
        """
        self._loss_limit = loss_limit
        self._step = step
        self._weights = self._objective.loss_weights(step)
        self._packed.shape = totals.packed_shape
        scaler = self.state.scaler_state()
        if not self._deepspeed.module.training:
            self._deepspeed.train()
        # Dropout depends on seed, step and rank only, so a resumed run draws the same masks.
        self._seed_dropout(seed_of(self._seed, "dropout", step, self._ranks.rank))
        for group in self._deepspeed.optimizer.param_groups:
            group["lr"] = learning_rate * group[RATE]
        skipped_before = self._deepspeed.skipped_steps
        try:
            metrics = self._forward_backward(batch, totals)
        except Exception as error:
            if "loss scale already at minimum" not in str(error):
                raise
            raise TrainingError(
                f"step {step + 1}: fp16 gradients overflow even at the minimum loss scale "
                f"({self.state.loss_scale:g}), so fp16 training cannot continue. Lower "
                "optimizer.learning_rate, lengthen schedule.warmup, or set engine.precision: "
                "bf16. The run then resumes from its newest checkpoint."
            ) from error
        skipped = self._deepspeed.skipped_steps > skipped_before
        if skipped:
            metrics["grad_norm"] = torch.zeros(())
        elif "grad_norm" not in metrics:
            norm = self._deepspeed.get_global_grad_norm()
            metrics["grad_norm"] = torch.as_tensor(norm, dtype=torch.float32)
        metrics["grad_norm"] = metrics["grad_norm"] / self._ranks.world_size
        mine = {name: float(metrics[name]) for name in ("loss", "grad_norm")}
        whole = all_reduce_sum(mine, self._ranks)
        if skipped and whole["loss"] > loss_limit:
            # `_poison_if_spiking` made the gradients overflow on purpose: keep the loss scale.
            self.state.set_scaler(scaler)
        absent = unmeasured_metrics(totals.counts, self._objective, self._weights)
        return StepResult(metrics, skipped, whole["loss"], whole["grad_norm"], absent)

    def _poison_if_spiking(self, loss: Tensor, whole: Tensor, group: Any | None = None) -> Tensor:
        """Return the last micro-batch's `loss`, or infinity if the step's loss is over the limit.

        An infinite loss makes DeepSpeed skip the update. `whole`: this rank's loss over all
        micro-batches. `group`: the ranks that compute a loss, if not all of them do.
        """
        if not math.isfinite(self._loss_limit):
            return loss
        total = torch.as_tensor(whole.detach(), dtype=torch.float64).cpu()
        if self._ranks.data_parallel_size > 1:
            dist.all_reduce(total, group=group)
        return loss if float(total) <= self._loss_limit else loss * math.inf

    def _seed_dropout(self, seed: int) -> None:
        """`torch.manual_seed` for the devices in use.

        That function would note the call for each kind of GPU that is not there, with its stack.
        """
        torch.default_generator.manual_seed(seed)
        if self._ranks.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _scaled_metrics(
        self,
        outputs: Mapping[str, Tensor],
        tensors: Mapping[str, Tensor],
        counts: Mapping[str, float],
    ) -> dict[str, Tensor]:
        """A micro-batch's summands of the loss and of each metric's mean over the global batch."""
        sums = self._objective.metric_sums(outputs, tensors)
        return scaled_metrics(sums, counts, self._objective, self._weights)

    def _zero_metrics(self) -> dict[str, Tensor]:
        return zero_metrics(self._objective, self._ranks.device)
