"""Everything that is asked of the package `deepspeed`: no other file imports it."""

from __future__ import annotations

from ptm.engines import accelerator  # noqa: F401

# isort: split

import logging
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, redirect_stdout
from io import StringIO
from typing import Any

import deepspeed
import deepspeed.ops
import deepspeed.utils
import torch
from deepspeed.pipe import LayerSpec, PipelineModule, TiedLayerSpec
from deepspeed.runtime.config import DeepSpeedConfig
from pydantic import ValidationError
from torch import Tensor, nn

from ptm.errors import UserError
from ptm.model.plain_model import run_step
from ptm.plan import Plan, Step

State = tuple[Tensor, ...]


def join_deepspeed(*, cuda: bool) -> None:
    """Let DeepSpeed use the process group that this process has joined."""
    deepspeed.utils.logger.setLevel(logging.WARNING)
    # What it warns of belongs into train.log (ptm/train/run_folder.py), not between the reports.
    deepspeed.utils.logger.handlers = [logging.NullHandler()]
    # Pipelines broadcast tied weights, which torch warns of though no gradient is asked for.
    warnings.filterwarnings("ignore", message=r".*c10d::broadcast_: an autograd kernel")
    if not cuda:
        # An op that DeepSpeed would compile for half a minute, to be faster than gloo.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        # torch computes fp16 on every CPU, if slowly: enough to try a recipe that is for GPUs.
        deepspeed.accelerator.get_accelerator().is_fp16_supported = lambda: True
    deepspeed.init_distributed(verbose=False)


def refuse_config(config: dict[str, Any], name: str) -> None:
    """Raise UserError for values that DeepSpeed does not take; `name`: of the file they are in."""
    # Of all ranks, DeepSpeed would think here, share out rows; under a pipeline fewer do.
    values = {key: value for key, value in config.items() if key != "train_batch_size"}
    try:
        with redirect_stdout(StringIO()):
            DeepSpeedConfig(values)
    except Exception as error:
        # Of any kind: DeepSpeed has its own, and asserts where it means to refuse.
        what = str(error) or type(error).__name__
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            what = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        raise UserError(f"engine.deepspeed = {name}: DeepSpeed refuses it: {what}.") from error


def start_engine(model: nn.Module, optimizer: torch.optim.Optimizer, config: dict[str, Any]) -> Any:
    """DeepSpeed's engine around `model`."""
    # With bf16 it prints the memory in use, whatever its log level is.
    with redirect_stdout(StringIO()):
        return deepspeed.initialize(
            model=model, optimizer=optimizer, config=config, dist_init_required=False
        )[0]


def partitioned(config: dict[str, Any]) -> AbstractContextManager[Any]:
    """Modules built within are cut up over the ranks one by one, so that none holds them all."""
    context: AbstractContextManager[Any] = deepspeed.zero.Init(config_dict_or_path=config)
    return context


def gathered_to_write(parameter: nn.Parameter) -> AbstractContextManager[Any]:
    """ZeRO 3: the parameter is whole within, and what the first rank makes of it is everybody's."""
    context: AbstractContextManager[Any] = deepspeed.zero.GatheredParameters(
        [parameter], modifier_rank=0
    )
    return context


def pipeline(
    plan: Plan, bounds: Sequence[int], *, loss: Callable[..., Tensor], recompute: bool
) -> Any:
    """This rank's stage of `plan`, cut at `bounds`."""
    live = plan.live()
    layers = [
        _layer(step, live[index], live[index + 1], recompute=recompute)
        for index, step in enumerate(plan.steps)
    ]
    # DeepSpeed prints what it does; here that is logged.
    with redirect_stdout(StringIO()):
        return _Stages(layers, bounds=tuple(bounds), loss_fn=loss)


def _layer(step: Step, before: tuple[str, ...], after: tuple[str, ...], *, recompute: bool) -> Any:
    def call(module: _Held, state: State) -> State:
        return run_step(step, module.held, state, before=before, after=after, recompute=recompute)

    if step.tie is None:
        return LayerSpec(_Layer, step, call)
    with torch.device("meta"):
        shared = [name for name, _ in _Held(step).named_parameters()]
    return TiedLayerSpec(step.tie, _Held, step, forward_fn=call, tied_weight_attr=shared)


class _Held(nn.Module):
    """A step's module, under a name of its own."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.held = step.build()


class _Layer(_Held):
    """A step's module as a layer from the tensors alive before it to those alive after it."""

    def __init__(self, step: Step, call: Callable[[_Held, State], State]) -> None:
        super().__init__(step)
        self._call = call

    def forward(self, state: State) -> State:
        return self._call(self, state)


class _Stages(PipelineModule):  # type: ignore[misc]
    """DeepSpeed's pipeline, cut where it is told.

    Its own partitioning by parameters builds the whole model on every rank to count them.
    """

    def __init__(
        self, layers: Sequence[Any], *, bounds: tuple[int, ...], loss_fn: Callable[..., Tensor]
    ) -> None:
        # The base class calls `_partition_layers` before it returns.
        self.bounds = bounds
        super().__init__(layers, num_stages=len(bounds) - 1, loss_fn=loss_fn)

    def _partition_layers(self, method: str = "uniform") -> None:
        self.parts = list(self.bounds)
        stage = self._topo.get_coord(self.global_rank).pipe
        self._set_bounds(self.parts[stage], self.parts[stage + 1])


def canonical_names(plan: Plan, stages: Any) -> dict[str, str]:
    """The canonical name of every parameter of a pipeline's stage by its own."""
    names = {}
    for own, _ in stages.named_parameters():
        parts = own.split(".")
        if parts[0] == "tied_modules":
            key, rest = parts[1], parts[3:]
        else:
            key, rest = plan.steps[int(parts[0])].key, parts[2:]
        names[own] = ".".join([key, *rest])
    return names
