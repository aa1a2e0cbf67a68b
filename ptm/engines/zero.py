"""Data parallelism without pipeline stages: DeepSpeed with ZeRO 0 to 3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ptm.engines.attention import attention_implementation
from ptm.engines.base import Engine, StepTotals
from ptm.engines.cached_gradients import gathered_outputs, sum_of_products
from ptm.engines.deepspeed import partitioned, start_engine
from ptm.engines.loss import accumulate, scaled_metrics
from ptm.engines.metric_sums import EvaluationResult, evaluate_batches
from ptm.engines.predictions import Predictions, Reduce, as_array
from ptm.loading.batches import StepBatch
from ptm.loading.transfer import to_device
from ptm.model.plain_model import PlainModel, empty_model
from ptm.nn.attention_choice import prepare_attention
from ptm.plan import Plan
from ptm.recipe.blocks import EngineBlock
from ptm.rng import seed_of


class PlainEngine(Engine):
    """The whole plan as one module under ZeRO 0 to 3."""

    def _build_engine(self, block: EngineBlock, plan: Plan, config: dict[str, Any]) -> Any:
        recompute = block.activation_checkpointing
        if self._stage == 3:
            with partitioned(config):
                model = PlainModel(plan, recompute=recompute)
        else:
            model = empty_model(plan, device=self._ranks.device, recompute=recompute)
        self._packed = prepare_attention(
            model, attention_implementation(block, self._ranks.device), recompute=recompute
        )
        engine = start_engine(model, self._built_optimizer(model.named_parameters()), config)
        self._trained = [p for p in model.parameters() if p.requires_grad]
        if self._ranks.world_size == 1:
            skip_reduction(engine)
        if self._stage == 0 and block.precision != "fp32":
            leave_overflow_to_the_norm(engine.optimizer)
        self._loss_scale: Fp16LossScaleFix | None = None
        if self._stage == 0 and block.precision == "fp16":
            minimum = block.loss_scale.minimum
            self._loss_scale = Fp16LossScaleFix(engine, minimum=minimum)
        return engine

    def _canonical_names(self, plan: Plan) -> Mapping[str, str]:
        return {name: name for name, _ in self.model.named_parameters()}

    @property
    def model(self) -> PlainModel:
        """The module in training, without DeepSpeed's wrapper."""
        module: PlainModel = self._deepspeed.module
        return module

    def _forward_backward(self, batch: StepBatch, totals: StepTotals) -> dict[str, Tensor]:
        if self._objective.compares_batch:
            return self._forward_backward_together(batch, totals)
        # Undo DeepSpeed's division by accumulation steps and ranks: the loss is normalised.
        scale = self._backward_scale
        metrics: dict[str, Tensor] = {}
        for index, micro_batch in enumerate(batch.micro_batches, start=1):
            moved = to_device(micro_batch, self._ranks.device)
            if self._teachers is not None:
                moved |= self._teachers.targets(moved)
            values = self._scaled_metrics(self._deepspeed(moved), moved, totals.counts)
            loss = values["loss"]
            if index == len(batch.micro_batches):
                loss = self._poison_if_spiking(loss, loss + metrics.get("loss", 0.0))
            self._backward(loss * scale, metrics)
            accumulate(metrics, values)
        if self._loss_scale is not None:
            metrics["grad_norm"] = torch.tensor(self._loss_scale.after_step())
        return metrics

    @property
    def _backward_scale(self) -> float:
        """The factor of a loss, which undoes DeepSpeed's division; with the loss scale if its."""
        scale: float = self._batch.accumulation * self._batch.ranks
        return scale if self._loss_scale is None else scale * self._loss_scale.value

    def _backward(self, loss: Tensor, metrics: dict[str, Tensor]) -> None:
        """Run the backward pass of a micro-batch; after the last one, update the weights."""
        self._deepspeed.backward(loss)
        if self._clips_itself and self._deepspeed.is_gradient_accumulation_boundary():
            metrics["grad_norm"] = self._clip_gradients()
        self._deepspeed.step()

    def _forward_backward_together(self, batch: StepBatch, totals: StepTotals) -> dict[str, Tensor]:
        """Compute one loss over the outputs of all micro-batches of all ranks.

        Cached gradients (Gao et al. 2021, "Scaling deep contrastive learning batch size under
        memory limited setup", section 3): all outputs first, then the gradient of the loss with
        respect to them, and with it the backward pass of each micro-batch. With more than one of
        them, a micro-batch is run a second time for it, with the same dropout.
        """
        scale = self._backward_scale
        moved = [to_device(one, self._ranks.device) for one in batch.micro_batches]
        once = len(moved) == 1
        outputs = []
        for index, tensors in enumerate(moved):
            found = self._outputs_of(tensors, index)
            outputs.append(found if once else {k: v.detach() for k, v in found.items()})
        whole = gathered_outputs(outputs, moved, self._objective, totals.capacity, self._ranks)
        values = scaled_metrics(
            self._objective.batch_sums(whole.outputs, whole.targets, whole.mine),
            totals.counts,
            self._objective,
            self._weights,
        )
        gradients = whole.gradients(values["loss"], self._ranks)
        metrics = {name: value.detach() for name, value in values.items()}
        for index, tensors in enumerate(moved):
            found = outputs[0] if once else self._outputs_of(tensors, index)
            # Its gradient with respect to the outputs is that of the loss.
            product = sum_of_products(found, {k: v[index] for k, v in gradients.items()})
            if index == len(moved) - 1:
                product = self._poison_if_spiking(product, metrics["loss"])
            self._backward(product * scale, metrics)
        if self._loss_scale is not None:
            metrics["grad_norm"] = torch.tensor(self._loss_scale.after_step())
        return metrics

    def _outputs_of(self, tensors: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
        """Run micro-batch `index` of the step; a second run has the same dropout."""
        seed = seed_of(self._seed, "dropout", self._step, self._ranks.rank, index)
        self._seed_dropout(seed)
        found: dict[str, Tensor] = self._deepspeed(tensors)
        return found

    def _clip_gradients(self) -> Tensor:
        """Clip gradients as DeepSpeed does from stage 1 on; return the norm before clipping."""
        for parameter in self._trained:
            if parameter.grad is None:
                # As DeepSpeed does where it reduces gradients, so that the weight decays.
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in self._trained if p.grad is not None]
        norms = torch._foreach_norm(gradients, dtype=torch.float64)
        norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
        if not torch.isfinite(norm):
            # Skip the step as DeepSpeed does from stage 1 on: without gradients nothing changes.
            self._deepspeed.skipped_steps += 1
            for parameter in self._trained:
                parameter.grad = None
        elif self._clipping > 0:
            scale = torch.clamp(self._clipping / (norm + 1e-6), max=1.0).float()
            torch._foreach_mul_(gradients, scale)
        return norm.float()

    def evaluate(self, batches: Iterable[StepBatch]) -> EvaluationResult:
        self._deepspeed.eval()
        return evaluate_batches(
            self._deepspeed,
            self._objective,
            batches,
            self._ranks.device,
            teachers=self._teachers,
            packed=self._packed,
        )

    def infer(self, batch: StepBatch, reduce: Reduce, *, plan: Plan | None = None) -> Predictions:
        self._deepspeed.eval()
        self._packed.shape = batch.packed_shape
        (micro_batch,) = batch.micro_batches
        moved = to_device(micro_batch, self._ranks.device)
        with torch.no_grad():
            found = reduce(self._deepspeed(moved, plan), moved)
        return {name: as_array(tensor) for name, tensor in found.items()}


def skip_reduction(engine: Any) -> None:
    """Keep DeepSpeed from reducing the gradients of a single rank, where it can.

    It would copy all gradients into a new buffer, reduce that with itself, and copy them back. ZeRO
    1 to 3 in other precisions than bf16 also partition in that step.
    """
    optimizer = engine.optimizer
    if not engine.zero_optimization() or hasattr(optimizer, "get_grads_for_reduction"):
        engine.enable_backward_allreduce = False


def leave_overflow_to_the_norm(optimizer: Any) -> None:
    """Make DeepSpeed's half-precision optimizer of ZeRO 0 find overflows by the norm alone.

    Before it computes the norm of all gradients, which is not finite if one of them is not, and
    skips the step then, it would read a flag from the GPU for each parameter: some 200 times per
    step of BERT-base.
    """
    optimizer.overflow_checker.has_overflow_serial = lambda parameters: False


class Fp16LossScaleFix:
    """Fixes fp16 at ZeRO 0, where DeepSpeed unscales gradients of a loss that it never scaled.

    Multiply the loss by `value`. DeepSpeed's updates of the loss scale are held back until
    `after_step`, so that gradients are divided by the scale that their loss was multiplied by.
    """

    def __init__(self, engine: Any, *, minimum: float) -> None:
        self._optimizer = engine.optimizer
        self._minimum = minimum
        self._move = self._optimizer._update_scale
        self._moves: list[bool] = []
        self._optimizer._update_scale = self._moves.append

    @property
    def value(self) -> float:
        """The current loss scale."""
        return float(self._optimizer.loss_scale_config.cur_scale)

    def after_step(self) -> float:
        """Apply the step's updates of the loss scale; return the norm of the unscaled gradients.

        Raises OverflowError if a step overflowed at the minimum scale.
        """
        norm = float(self._optimizer._global_grad_norm) / self.value
        for skipped in self._moves:
            if skipped and self.value <= self._minimum:
                raise OverflowError("loss scale already at minimum")
            self._move(skipped)
        self._moves.clear()
        return norm
