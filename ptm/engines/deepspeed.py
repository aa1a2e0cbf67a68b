"""All calls into the `deepspeed` package; only `async_io` imports it as well."""

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

from ptm.engines.ds_config import zero_stage
from ptm.engines.gathered_linear import gathered_linear, torch_linear
from ptm.errors import UserError
from ptm.model.plain_model import run_operation
from ptm.plan import Operation, Plan
from ptm.validation import first_problem

State = tuple[Tensor, ...]


def init_deepspeed(*, cuda: bool) -> None:
    """Initialise DeepSpeed's communication on the existing process group."""
    deepspeed.utils.logger.setLevel(logging.WARNING)
    # Its warnings go to train.log (ptm/train/run_folder.py), not to the console.
    deepspeed.utils.logger.handlers = [logging.NullHandler()]
    # Pipelines broadcast tied weights; torch warns of it although no gradient is needed.
    warnings.filterwarnings("ignore", message=r".*c10d::broadcast_: an autograd kernel")
    if not cuda:
        # Saves half a minute of compiling an op whose only use is to be faster than gloo.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        # torch supports fp16 on every CPU, if slowly: enough to try a recipe made for GPUs.
        deepspeed.accelerator.get_accelerator().is_fp16_supported = lambda: True
    deepspeed.init_distributed(verbose=False)


def check_config(config: dict[str, Any], name: str) -> None:
    """Raise UserError if DeepSpeed rejects a value of `config`, read from the file `name`."""
    # DeepSpeedConfig divides train_batch_size by world size, which is wrong under pipeline
    # parallelism.
    values = {key: value for key, value in config.items() if key != "train_batch_size"}
    try:
        with redirect_stdout(StringIO()):
            DeepSpeedConfig(values)
    except Exception as error:
        # DeepSpeed reports invalid values by exceptions of its own and by assertions.
        what = str(error) or type(error).__name__
        if isinstance(error, ValidationError):
            what = first_problem(error)
        raise UserError(
            f"engine.deepspeed = {name}: DeepSpeed rejects this file: {what}."
        ) from error


def start_engine(model: nn.Module, optimizer: torch.optim.Optimizer, config: dict[str, Any]) -> Any:
    """Return DeepSpeed's engine around `model`."""
    if not torch.cuda.is_available():
        config = _without_streams(config)
    if zero_stage(config) == 3:
        config = _without_deepspeeds_linear(config)
    # With bf16, DeepSpeed prints memory statistics whatever its log level is.
    with redirect_stdout(StringIO()):
        return deepspeed.initialize(
            model=model, optimizer=optimizer, config=config, dist_init_required=False
        )[0]


def _without_deepspeeds_linear(config: dict[str, Any]) -> dict[str, Any]:
    """`config` with which DeepSpeed leaves torch's `linear` as it is.

    Its own version adds the bias in an operation of its own, which takes time and rounds twice in
    half precision, and it stays in place for good.
    """
    zero = {**config["zero_optimization"], "memory_efficient_linear": False}
    return {**config, "zero_optimization": zero}


def _without_streams(config: dict[str, Any]) -> dict[str, Any]:
    """`config` for CPUs, which have no streams on which communication could overlap."""
    zero = config.get("zero_optimization", {})
    return {**config, "zero_optimization": {**zero, "overlap_comm": False}} if zero else config


def partitioned(config: dict[str, Any]) -> AbstractContextManager[Any]:
    """ZeRO 3: context in which each module is sharded over the ranks as soon as it is built.

    Replaces torch's `linear`, until `restore_linear`, unless `memory_efficient_linear` is false.
    """
    if config["zero_optimization"].get("memory_efficient_linear", True):
        nn.functional.linear = gathered_linear
    config = _without_deepspeeds_linear(config)
    context: AbstractContextManager[Any] = deepspeed.zero.Init(config_dict_or_path=config)
    return context


def restore_linear() -> None:
    """Undo the replacement of torch's `linear` by `partitioned`."""
    nn.functional.linear = torch_linear


def gather_for_writing(parameter: nn.Parameter) -> AbstractContextManager[Any]:
    """ZeRO 3: context with the gathered parameter; rank 0's new value is broadcast at its end."""
    context: AbstractContextManager[Any] = deepspeed.zero.GatheredParameters(
        [parameter], modifier_rank=0
    )
    return context


def pipeline(
    plan: Plan, bounds: Sequence[int], *, loss: Callable[..., Tensor], recompute: bool
) -> Any:
    """Build this rank's pipeline stage of `plan`; stage k holds steps `bounds[k]:bounds[k+1]`."""
    live = plan.live()
    layers = [
        _layer(step, live[index], live[index + 1], recompute=recompute)
        for index, step in enumerate(plan.operations)
    ]
    # DeepSpeed prints the partition; `ptm` logs it itself.
    with redirect_stdout(StringIO()):
        return _Stages(layers, bounds=tuple(bounds), loss_fn=loss)


def _layer(
    step: Operation, before: tuple[str, ...], after: tuple[str, ...], *, recompute: bool
) -> Any:
    def call(module: _StepModule, state: State) -> State:
        return run_operation(
            step, module.held, state, before=before, after=after, recompute=recompute
        )

    if step.tie is None:
        return LayerSpec(_StepLayer, step, call)
    with torch.device("meta"):
        shared = [name for name, _ in _StepModule(step).named_parameters()]
    return TiedLayerSpec(step.tie, _StepModule, step, forward_fn=call, tied_weight_attr=shared)


class _StepModule(nn.Module):
    """The module of one plan step, as attribute `held`."""

    def __init__(self, step: Operation) -> None:
        super().__init__()
        self.held = step.build()


class _StepLayer(_StepModule):
    """A plan step as a pipeline layer: maps the tensors alive before it to those alive after it."""

    def __init__(self, step: Operation, call: Callable[[_StepModule, State], State]) -> None:
        super().__init__(step)
        self._call = call

    def forward(self, state: State) -> State:
        return self._call(self, state)


class _Stages(PipelineModule):  # type: ignore[misc]
    """DeepSpeed's pipeline module, partitioned at given bounds.

    DeepSpeed's own partitioning by parameters builds the whole model on every rank to count them.
    """

    def __init__(
        self, layers: Sequence[Any], *, bounds: tuple[int, ...], loss_fn: Callable[..., Tensor]
    ) -> None:
        # The base class calls `_partition_layers` before it returns.
        self.bounds = bounds
        super().__init__(layers, num_stages=len(bounds) - 1, loss_fn=loss_fn)

    def forward(self, forward_input: State) -> State:
        """Run this stage; its floating-point results require gradients, as DeepSpeed expects.

        Those of frozen parameters alone do not by themselves.
        """
        state: State = super().forward(forward_input)
        held = [p for n, p in self.named_parameters(recurse=False) if n.startswith(_PLACEHOLDER)]
        if held and torch.is_grad_enabled():
            # Gradients of zero: the norm of a group without any is an error in bf16.
            at = next(index for index, tensor in enumerate(state) if tensor.is_floating_point())
            zero = 0.0 * torch.stack([parameter.sum() for parameter in held]).sum()
            state = (*state[:at], state[at] + zero.to(state[at].dtype), *state[at + 1 :])
        if self.stage_id == self.num_stages - 1 or not torch.is_grad_enabled():
            return state
        return tuple(
            tensor.detach().requires_grad_()
            if tensor.is_floating_point() and not tensor.requires_grad
            else tensor
            for tensor in state
        )

    def get_tied_weights_and_groups(self) -> list[tuple[nn.Parameter, Any]]:
        """The tied weights whose gradients are reduced: frozen ones have none (bf16: an error)."""
        found = super().get_tied_weights_and_groups()
        return [(weight, group) for weight, group in found if weight.requires_grad]

    def _partition_layers(self, method: str = "uniform") -> None:
        self.parts = list(self.bounds)
        stage = self._topo.get_coord(self.global_rank).pipe
        self._set_bounds(self.parts[stage], self.parts[stage + 1])


_PLACEHOLDER = "placeholder_"


def add_placeholders(
    stages: Any, shapes: Sequence[tuple[int, ...]]
) -> list[tuple[str, nn.Parameter]]:
    """Give a pipeline stage a parameter of each of the shapes, without effect; return them.

    DeepSpeed all-reduces the gradient norm once per parameter group of the optimizer, so a stage
    without one of the groups would make the others wait forever.
    """
    added = []
    for index, shape in enumerate(shapes):
        parameter = nn.Parameter(torch.zeros(shape))
        stages.register_parameter(f"{_PLACEHOLDER}{index}", parameter)
        added.append((f"{_PLACEHOLDER}{index}", parameter))
    return added


def canonical_names(plan: Plan, stages: Any) -> dict[str, str]:
    """Map the name of each parameter of a pipeline stage to its canonical name.

    Without those of `add_placeholders`.
    """
    names = {}
    for own, _ in stages.named_parameters():
        if own.startswith(_PLACEHOLDER):
            continue
        parts = own.split(".")
        if parts[0] == "tied_modules":
            key, rest = parts[1], parts[3:]
        else:
            key, rest = plan.operations[int(parts[0])].key, parts[2:]
        names[own] = ".".join([key, *rest])
    return names
