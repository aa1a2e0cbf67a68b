"""A plan as one plain module, and what can be told from it without memory: names and shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ptm.errors import UserError
from ptm.plan import Plan, Step


class PlainModel(nn.Module):
    """Runs a plan's steps in a loop: the executor for one process and for ZeRO 0-3.

    Its parameters' names are the canonical ones, `step.parameter`.
    """

    def __init__(self, plan: Plan, *, recompute: bool = False) -> None:
        super().__init__()
        self.plan = plan
        self.recompute = recompute
        self._live = plan.live()
        for step in plan.steps:
            if step.key not in self._modules:
                self.add_module(step.key, step.build())

    def forward(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Named inputs (more may be there than are read) -> named outputs."""
        return self._run(self.plan, self._live, tensors)

    def run(self, plan: Plan, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run another plan of steps that this one has too, such as a part of it."""
        return self._run(plan, plan.live(), tensors)

    def _run(
        self, plan: Plan, live: tuple[tuple[str, ...], ...], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        state = tuple(tensors[name] for name in live[0])
        for index, step in enumerate(plan.steps):
            module = self.get_submodule(step.key)
            state = run_step(
                step,
                module,
                state,
                before=live[index],
                after=live[index + 1],
                recompute=self.recompute,
            )
        return dict(zip(plan.outputs, state, strict=True))


def meta_model(plan: Plan) -> PlainModel:
    """The model without memory: names, shapes, counts."""
    with torch.device("meta"):
        return PlainModel(plan)


def empty_model(
    plan: Plan, *, device: torch.device | str = "cpu", recompute: bool = False
) -> PlainModel:
    """The model with memory for fp32 and only zeros in it."""
    with torch.device("meta"):
        model = PlainModel(plan, recompute=recompute)
    model.to_empty(device=device)
    with torch.no_grad():
        torch._foreach_zero_(list(model.parameters()))
    return model


def parameter_count(plan: Plan) -> int:
    """Parameters of the plan, shared ones once."""
    return sum(math.prod(shape) for shape in plan.parameter_shapes.values())


def run_step(
    step: Step,
    module: nn.Module,
    state: Sequence[Tensor],
    *,
    before: tuple[str, ...],
    after: tuple[str, ...],
    recompute: bool = False,
) -> tuple[Tensor, ...]:
    """Call `module` for `step` on the tensors named `before`; return those named `after`.

    With `recompute`, a block keeps its inputs alone and runs again in the backward pass (activation
    checkpointing, Chen et al. 2016).
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


def loaded_model(plan: Plan, weights: Mapping[str, Tensor], *, source: str) -> PlainModel:
    """The plan's model with `weights`, in evaluation mode. Raises UserError where some do not fit.

    Weights that the plan has no place for are left out.
    """
    model = empty_model(plan).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name not in weights:
                raise UserError(f"{source}: has no weights for {name}.")
            if weights[name].shape != parameter.shape:
                raise UserError(
                    f"{source}: {name} has the shape {tuple(weights[name].shape)}, its recipe says "
                    f"{tuple(parameter.shape)}."
                )
            parameter.copy_(weights[name])
    return model
