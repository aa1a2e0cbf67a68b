"""A plan as one plain torch module, with memory or on the meta device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ptm.errors import UserError
from ptm.plan import Operation, Plan


class PlainModel(nn.Module):
    """Runs the operations of a plan in a loop: the executor for one process and for ZeRO 0-3.

    Its parameters have their canonical names, `operation.parameter`. With `recompute`, repeated
    blocks use activation checkpointing.
    """

    def __init__(self, plan: Plan, *, recompute: bool = False) -> None:
        super().__init__()
        self.plan = plan
        self.recompute = recompute
        self._live = plan.live()
        for step in plan.operations:
            if step.key not in self._modules:
                self.add_module(step.key, step.build())

    def forward(self, tensors: Mapping[str, Tensor], plan: Plan | None = None) -> dict[str, Tensor]:
        """Named inputs -> named outputs. Tensors that no operation reads are ignored.

        `plan`: as for `run`. Under ZeRO 3, only a call of the whole module gathers parameters.
        """
        return (
            self._run(self.plan, self._live, tensors) if plan is None else self.run(plan, tensors)
        )

    def run(self, plan: Plan, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run another plan whose operations are all part of this model's plan."""
        return self._run(plan, plan.live(), tensors)

    def _run(
        self, plan: Plan, live: tuple[tuple[str, ...], ...], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        state = tuple(tensors[name] for name in live[0])
        for index, step in enumerate(plan.operations):
            module = self.get_submodule(step.key)
            state = run_operation(
                step,
                module,
                state,
                before=live[index],
                after=live[index + 1],
                recompute=self.recompute,
            )
        return dict(zip(plan.outputs, state, strict=True))


def meta_model(plan: Plan) -> PlainModel:
    """The model on the meta device, without memory, for names, shapes and counts."""
    with torch.device("meta"):
        return PlainModel(plan)


def empty_model(
    plan: Plan,
    *,
    device: torch.device | str = "cpu",
    recompute: bool = False,
    zeros: bool = True,
) -> PlainModel:
    """The model on `device`, with all parameters zero, in fp32.

    `zeros`: False if all parameters are given values next; memory that is not written costs none.
    """
    with torch.device("meta"):
        model = PlainModel(plan, recompute=recompute)
    model.to_empty(device=device)
    if zeros:
        with torch.no_grad():
            torch._foreach_zero_(list(model.parameters()))
    return model


def parameter_count(plan: Plan) -> int:
    """The number of parameters of the plan; shared ones are counted once."""
    return sum(math.prod(shape) for shape in plan.parameter_shapes.values())


def run_operation(
    step: Operation,
    module: nn.Module,
    state: Sequence[Tensor],
    *,
    before: tuple[str, ...],
    after: tuple[str, ...],
    recompute: bool = False,
) -> tuple[Tensor, ...]:
    """Run operation `step`: call `module` on the tensors `state`, named `before`.

    Returns the tensors named `after`. With `recompute`, a repeated block stores only its inputs and
    runs again in the backward pass (activation checkpointing, Chen et al. 2016).
    """
    names = dict(zip(before, state, strict=True))
    call = partial(module, **step.options)
    read = (names[name] for name in step.reads)
    if recompute and step.block and torch.is_grad_enabled():
        written = checkpoint(call, *read, use_reentrant=False)
    else:
        written = call(*read)
    written = written if isinstance(written, tuple) else (written,)
    names.update(zip(step.writes, written, strict=True))
    return tuple(names[name] for name in after)


def loaded_model(
    plan: Plan, weights: Mapping[str, Tensor], *, source: str, shared: bool = False
) -> PlainModel:
    """The plan's model with `weights`, in evaluation mode.

    `shared`: the model keeps the tensors of `weights` themselves, which halves the memory; the
    weights must not be changed afterwards. Otherwise they are copied.

    Raises UserError, which names `source`, if the weights of a parameter are missing or have
    another shape. Weights that are not parameters of the plan are ignored.
    """
    model = empty_model(plan, zeros=False).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name not in weights:
                raise UserError(f"{source}: the weights of {name} are missing.")
            if weights[name].shape != parameter.shape:
                raise UserError(
                    f"{source}: {name} has shape {tuple(weights[name].shape)}, but the model's "
                    f"recipe requires {tuple(parameter.shape)}."
                )
            if shared and weights[name].dtype == parameter.dtype:
                parameter.data = weights[name]
            else:
                parameter.copy_(weights[name])
    return model
