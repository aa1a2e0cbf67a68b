"""From a recipe's blocks to a plan, and from a plan to a plain module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from ptm.nn.init import first_value, norm_parameters
from ptm.objectives import Objective
from ptm.plan import Plan, run_step
from ptm.recipe.blocks import ModelBlock


def build_plan(model: ModelBlock, objective: Objective, *, vocabulary_size: int) -> Plan:
    """Embedding, encoder and head as one straight-line program."""
    shape = model.shape(vocabulary_size)
    steps = (*model.embedding.steps(shape), *model.encoder.steps(shape), *objective.steps(shape))
    return Plan(steps=steps, outputs=objective.outputs)


class PlainModel(nn.Module):
    """Runs a plan's steps in a loop: the executor for one process and for ZeRO 0-3.

    Its parameters' names are the canonical ones, `step.parameter`.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self._live = plan.live()
        for step in plan.steps:
            if step.key not in self._modules:
                self.add_module(step.key, step.build())

    def forward(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Named inputs (more may be there than are read) -> named outputs."""
        state = tuple(tensors[name] for name in self._live[0])
        for index, step in enumerate(self.plan.steps):
            before, after = self._live[index], self._live[index + 1]
            module = self.get_submodule(step.key)
            state = run_step(step, module, state, before=before, after=after)
        return dict(zip(self.plan.outputs, state, strict=True))


def meta_model(plan: Plan) -> PlainModel:
    """The model without memory: names, shapes, counts."""
    with torch.device("meta"):
        return PlainModel(plan)


def empty_model(plan: Plan) -> PlainModel:
    """The model with memory and nothing in it yet, in fp32."""
    return meta_model(plan).to_empty(device="cpu")


Gather = Callable[[nn.Parameter], AbstractContextManager[object]]


def first_weights(
    model: nn.Module, block: ModelBlock, *, seed: int, names: Mapping[str, str] | None = None
) -> Iterator[tuple[str, nn.Parameter, Callable[[], Tensor]]]:
    """Each parameter with its canonical name and a function that gives its first value.

    `names` translates the model's own parameter names where they are not the canonical ones.
    """
    norms = set(norm_parameters(model))
    for own, parameter in model.named_parameters():
        name = own if names is None else names[own]
        shape = tuple(getattr(parameter, "ds_shape", parameter.shape))

        def value(
            name: str = name, shape: tuple[int, ...] = shape, is_norm: bool = own in norms
        ) -> Tensor:
            return first_value(
                name,
                shape,
                seed=seed,
                is_norm=is_norm,
                std=block.init.std,
                residual_outputs=(
                    block.encoder.residual_outputs() if block.init.residual_scaling else ()
                ),
                residual_branches=block.encoder.residual_branches,
            )

        yield name, parameter, value


def initialise(
    model: nn.Module, block: ModelBlock, *, seed: int, gather: Gather | None = None
) -> None:
    """Give every parameter its first value. `gather` makes a partitioned one whole meanwhile."""
    for _, parameter, value in first_weights(model, block, seed=seed):
        with torch.no_grad(), gather(parameter) if gather else nullcontext():
            parameter.copy_(value())


def parameter_count(plan: Plan) -> int:
    """Parameters of the plan, shared ones once."""
    return sum(parameter.numel() for parameter in meta_model(plan).parameters())
