"""Pipeline parallelism: DeepSpeed's pipeline engine with ZeRO 1, each stage on its own ranks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from ptm.components.optimizers.base import Group
from ptm.data.placement import ENCODER_TENSORS
from ptm.data.sides_apart import MEMORY_CELLS, MEMORY_IDS
from ptm.engines.attention import attention_implementation
from ptm.engines.base import Engine, StepTotals
from ptm.engines.deepspeed import add_placeholders, canonical_names, pipeline, start_engine
from ptm.engines.loss import accumulate
from ptm.engines.metric_sums import EvaluationResult
from ptm.engines.predictions import PredictionCollector, Predictions, Reduce, as_array
from ptm.engines.ranks import all_gather, all_gather_objects
from ptm.loading.batches import StepBatch
from ptm.loading.transfer import to_device
from ptm.model.stages import stage_bounds
from ptm.nn.attention_choice import prepare_attention
from ptm.nn.packed_examples import PackedShape
from ptm.plan import Plan
from ptm.recipe.blocks import EngineBlock

Tensors = tuple[Tensor, ...]
_MICRO_BATCHES_PER_EVAL_CALL = 32
"""Micro-batches of an evaluation that pass the pipeline in one call."""


class PipelineEngine(Engine):
    """A plan cut into pipeline stages; this rank runs the steps of one stage."""

    def _build_engine(self, block: EngineBlock, plan: Plan, config: dict[str, Any]) -> Any:
        self._plan = plan
        self._buffers: dict[str, tuple[int, ...]] = {}
        self._counts: Mapping[str, float] = {}
        self._seen: dict[str, Tensor] = {}
        self._micro_batches_seen = 0
        self._collector = PredictionCollector(self._objective)
        self._reduce: Reduce | None = None
        self._reduced: Predictions = {}
        ranks = self._ranks
        self._last_stage = dist.new_group(
            list(range(ranks.world_size - ranks.data_parallel_size, ranks.world_size)),
            backend="gloo",
        )
        bounds = stage_bounds(plan, self._ranks.pipeline_stages)
        model = pipeline(
            plan,
            bounds,
            loss=self._loss,
            recompute=block.activation_checkpointing,
        )
        self._packed = prepare_attention(
            model,
            attention_implementation(block, ranks.device),
            recompute=block.activation_checkpointing,
        )
        names = canonical_names(plan, model)
        named = [(names[own], parameter) for own, parameter in model.named_parameters()]
        optimizer = self._built_optimizer([*named, *self._placeholders(plan, model, named)])
        engine = start_engine(model, optimizer, config)
        # DeepSpeed reuses one receive buffer per position in the tuple whatever the dtype, so
        # token ids would be received into the float buffers of gradients.
        engine._allocate_or_extend_buffers = self._new_buffer
        return engine

    def _placeholders(
        self, plan: Plan, model: Any, named: Iterable[tuple[str, nn.Parameter]]
    ) -> list[tuple[str, nn.Parameter]]:
        """Parameters without effect in the optimizer's groups that only other stages have."""
        mine = {name for name, _ in named}
        groups: dict[bool, set[Group]] = {True: set(), False: set()}
        for name, shape in plan.parameter_shapes.items():
            if name not in self._frozen:
                group = self._optimizer.group_of(name, shape, self._rates)
                groups[name in mine].add(group)
        missing = sorted(groups[False] - groups[True])
        added = add_placeholders(model, [(1, 1) if decay else (1,) for _, decay in missing])
        for (name, _), (rate, _) in zip(added, missing, strict=True):
            self._rates[name] = rate
        return added

    def _new_buffer(self, index: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.zeros(tuple(shape), dtype=dtype, device=self._ranks.device)

    def _canonical_names(self, plan: Plan) -> Mapping[str, str]:
        return canonical_names(plan, self._deepspeed.module)

    def _loss(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Loss function: DeepSpeed calls it on the last stage for every micro-batch."""
        named = dict(zip(self._plan.outputs, outputs, strict=True))
        tensors = dict(zip(self._objective.targets, targets, strict=True))
        if self._reduce is not None:
            found = self._reduce(named, tensors)
            self._reduced = {name: as_array(tensor) for name, tensor in found.items()}
            return outputs[0].new_zeros(())
        if not torch.is_grad_enabled():
            sums = self._objective.metric_sums(named, tensors)
            accumulate(self._seen, {name: value.double() for name, value in sums.items()})
            self._collector.add(named, tensors)
            return next(iter(sums.values()))
        values = self._scaled_metrics(named, tensors, self._counts)
        loss = values["loss"]
        self._micro_batches_seen += 1
        if self._micro_batches_seen == self._batch.accumulation:
            loss = self._poison_if_spiking(loss, loss + self._seen["loss"], self._last_stage)
        accumulate(self._seen, values)
        # Undo DeepSpeed's division by accumulation steps and data ranks: `loss` is normalised.
        return loss * (self._batch.accumulation * self._batch.ranks)

    def _forward_backward(self, batch: StepBatch, totals: StepTotals) -> dict[str, Tensor]:
        self._counts, self._seen, self._micro_batches_seen = totals.counts, self._zero_metrics(), 0
        self._resize_buffers(totals.capacity, totals.packed_shape)
        self._deepspeed.train_batch(self._micro_batches(batch))
        return self._seen

    def _resize_buffers(self, capacity: int, shape: PackedShape | None) -> None:
        """If the padded sizes change, make the stages exchange activation shapes again."""
        names = {*self._plan.inputs, *self._objective.targets}
        buffers: dict[str, tuple[int, ...]]
        buffers = dict.fromkeys(self._objective.ragged_tensors, (capacity,))
        if shape is not None and shape.source_rows:
            buffers |= _apart_shapes(names, shape)
        if buffers != self._buffers:
            self._deepspeed.reset_activation_shape()
            self._buffers = buffers

    def _micro_batches(self, batch: StepBatch) -> Iterator[tuple[Tensors, Tensors]]:
        for micro_batch in batch.micro_batches:
            # Here, so that padding does not turn pinned memory into memory that has to be copied
            # before the GPU can read it.
            tensors = {
                name: _padded(tensor, self._buffers.get(name, ()))
                for name, tensor in to_device(micro_batch, self._ranks.device).items()
            }
            yield (
                tuple(tensors[name] for name in self._plan.inputs),
                tuple(tensors[name] for name in self._objective.targets),
            )

    def evaluate(self, batches: Iterable[StepBatch]) -> EvaluationResult:
        """Return the result on the ranks of the last stage; zeros and nothing on all others."""
        self._deepspeed.eval()
        self._collector = PredictionCollector(self._objective)
        self._seen = {metric.name: torch.zeros(()) for metric in self._objective.metrics}
        totals = dict.fromkeys(self._seen, 0.0)
        remaining = iter(batches)
        while portion := list(islice(remaining, _MICRO_BATCHES_PER_EVAL_CALL)):
            self._evaluate(portion)
            for name, value in self._seen.items():
                totals[name] += float(value)
        return EvaluationResult(totals, self._collector.arrays)

    def infer(self, batch: StepBatch, reduce: Reduce, *, plan: Plan | None = None) -> Predictions:
        assert plan is None, "the stages are cut from the plan of the training"
        self._deepspeed.eval()
        self._reduce, self._reduced = reduce, {}
        try:
            self._evaluate([batch])
        finally:
            self._reduce = None
        # Only the last stage has outputs.
        return next(one for one in all_gather_objects(self._reduced, self._ranks) if one)

    def _evaluate(self, portion: Sequence[StepBatch]) -> None:
        self._seen = {}
        shapes = [batch.packed_shape for batch in portion]
        mine = {"capacity": max(batch.capacity for batch in portion)}
        every = all_gather({**mine, **PackedShape.over(shapes).as_numbers()}, self._ranks)
        shape = PackedShape.over(map(PackedShape.from_numbers, every))
        self._resize_buffers(int(max(row["capacity"] for row in every)), shape)
        self._packed.shape = shape
        micro_batches = (pair for batch in portion for pair in self._micro_batches(batch))
        # Middle stages load no rows: all stages count one micro-batch per batch.
        self._deepspeed.eval_batch(
            micro_batches, num_micro_batches=len(portion), reduce_output=None, bcast_loss=False
        )


def _apart_shapes(names: Iterable[str], shape: PackedShape) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of sides that are packed apart: rows, and columns if they vary."""
    return {
        name: (shape.source_rows,)
        if name in ENCODER_TENSORS
        else (shape.target_rows, shape.memory_columns)
        if name in (MEMORY_IDS, MEMORY_CELLS)
        else (shape.target_rows,)
        for name in names
    }


def _padded(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The tensor, padded with zeros along its first axes up to `shape`."""
    added = [0] * (2 * tensor.dim())
    for axis, size in enumerate(shape):
        # torch counts the axes of the padding from the last one.
        added[-2 * axis - 1] = size - tensor.shape[axis]
    return F.pad(tensor, added) if any(added) else tensor
