"""An estimate of the memory that a training step needs, from a run of the model without memory.

The model's forward and backward pass run on the meta device, where tensors have shapes but no
values, while the bytes of all tensors that are alive are counted. So activations, logits, gradients
and temporary tensors of every kind of model are counted as they are allocated, in the precision and
with the recomputation of the training. The state between two steps is counted by the rules of
DeepSpeed's optimizers. Not counted: workspaces inside kernels, and what allocators waste.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from ptm.components.objectives import Objective
from ptm.components.optimizers import Optimizer
from ptm.engines.loss import scaled_metrics
from ptm.model.plain_model import empty_model
from ptm.nn.attention import CrossAttention, SelfAttention, scaled_attention
from ptm.nn.attention_choice import Implementation
from ptm.nn.positions import distance_matrix
from ptm.plan import Plan

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_DEFAULT_BUCKET = 500_000_000
"""DeepSpeed's default for the elements of a bucket."""


@dataclass(frozen=True)
class StepSettings:
    """What decides how much memory a step needs, besides the model.

    `implementation`: that of attention. `on_gpu`: whether attention with dropout is fused.
    `needs_values`: whether the shapes in the model depend on values of the batch, so that it has to
    run on the CPU.
    """

    precision: str
    recompute: bool
    implementation: Implementation
    on_gpu: bool
    needs_values: bool = False


def peak_bytes(
    plan: Plan, objective: Objective, tensors: Mapping[str, Tensor], settings: StepSettings
) -> int:
    """The most bytes that are alive in a forward and backward pass, besides weights and inputs."""
    device = "cpu" if settings.needs_values else "meta"
    model = empty_model(plan, device=device, recompute=settings.recompute)
    model = model.to(_DTYPES[settings.precision]).train()
    _use_stand_in(model, settings)
    inputs = {name: tensor.to(device) for name, tensor in tensors.items()}
    live = _LiveBytes()
    with live:
        outputs = model(inputs)
        if objective.teacher_sources:
            inputs |= objective.teacher_targets([{k: v.detach() for k, v in outputs.items()}])
        sums = objective.metric_sums(outputs, inputs)
        counts = {metric.count: 1.0 for metric in objective.metrics}
        loss = scaled_metrics(sums, counts, objective, objective.loss_weights(0))["loss"]
        del outputs, sums
        loss.backward()  # type: ignore[no-untyped-call]
    return live.peak


def state_bytes(
    plan: Plan,
    optimizer: Optimizer,
    config: Mapping[str, Any],
    *,
    precision: str,
    ranks: int,
    hidden: frozenset[str],
) -> float:
    """Bytes of one of `ranks` data-parallel ranks between two steps, without the gradients.

    Weights, fp32 master weights, optimizer states, accumulated gradients and buckets, partitioned
    by the ZeRO stage of `config` (Rajbhandari et al. 2020, section 5). `hidden`: the matrices of
    the repeated blocks.
    """
    zero = config.get("zero_optimization", {})
    stage = int(zero.get("stage", 0))
    shard = 1.0 / ranks if stage >= 1 else 1.0
    size = _DTYPES[precision].itemsize
    parameters = sum(math.prod(shape) for shape in plan.parameter_shapes.values())
    states = sum(
        math.prod(state)
        for name, shape in plan.parameter_shapes.items()
        for state in optimizer.states(shape, hidden=name in hidden).values()
    )
    total = size * parameters * (shard if stage == 3 else 1.0)
    if not zero.get("offload_optimizer"):
        masters = parameters if precision != "fp32" or stage >= 1 else 0
        total += 4.0 * shard * (masters + states)
    if precision != "fp32" or stage >= 1:
        # The gradients that are accumulated in fp32; from stage 2 on, a shard of them.
        total += 4.0 * parameters * (shard if stage >= 2 or precision == "fp32" else 1.0)
    if ranks > 1:
        buckets = ("reduce_bucket_size", "allgather_bucket_size")
        total += sum(
            size * min(parameters, _elements(zero.get(name, _DEFAULT_BUCKET))) for name in buckets
        )
    return total


def _elements(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float(_DEFAULT_BUCKET)


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that operations create, as long as they are alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._known: Any = WeakIdKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: Any) -> None:
        if storage in self._known:
            return
        size = storage.nbytes()
        self._known[storage] = size
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._forget, size)

    def _forget(self, size: int) -> None:
        self._now -= size


def _use_stand_in(model: nn.Module, settings: StepSettings) -> None:
    """Replace the attention kernels, which the meta device lacks, by stand-ins of equal memory."""
    kernel = _StandIn(settings)
    for module in model.modules():
        if isinstance(module, SelfAttention | CrossAttention):
            module.kernel = kernel


class _StandIn:
    """A kernel of attention that has the shapes and the memory of the one that will run."""

    def __init__(self, settings: StepSettings) -> None:
        self._fuses_dropout = settings.on_gpu
        self._masks = settings.implementation == "sdpa"
        self._shares_biases = not settings.recompute
        self._biased: tuple[Tensor, Tensor] | None = None

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        example_ids: Tensor,
        memory_ids: Tensor | None = None,
        *,
        dropout: float,
        position_bias: Tensor | None = None,
        segment_ids: Tensor | None = None,
    ) -> Tensor:
        mask = None if position_bias is None else self._biased_mask(query, position_bias)
        if dropout > 0.0 and not self._fuses_dropout:
            return scaled_attention(query, key, value, mask, dropout=dropout, scale=1.0)
        if mask is None and self._masks:
            shape = (query.shape[0], 1, query.shape[2], key.shape[2])
            mask = torch.empty(shape, dtype=query.dtype, device=query.device)
        attended: Tensor = _FusedAttention.apply(  # type: ignore[no-untyped-call]
            query, key, value, mask
        )
        return attended

    def _biased_mask(self, query: Tensor, position_bias: Tensor) -> Tensor:
        """The biases of each row (B, H, T, T), which the layers share unless they recompute."""
        if self._biased is None or self._biased[0] is not position_bias or not self._shares_biases:
            rows, queries = query.shape[0], query.shape[2]
            matrix = distance_matrix(position_bias, queries).expand(rows, -1, -1, -1)
            self._biased = position_bias, matrix.clone()
        return self._biased[1]


class _FusedAttention(torch.autograd.Function):
    """Keeps inputs, output, mask and one fp32 number per query, as fused kernels do."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        output = torch.empty_like(query)
        normaliser = torch.empty(query.shape[:-1], dtype=torch.float32, device=query.device)
        ctx.save_for_backward(query, key, value, mask, output, normaliser)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mask, *_ = ctx.saved_tensors
        of_mask = torch.empty_like(mask) if ctx.needs_input_grad[3] else None
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value), of_mask
