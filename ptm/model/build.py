"""From a recipe's blocks to a plan, and from a plan to a plain module."""

from __future__ import annotations

import math
from collections.abc import Mapping

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


def encoder_plan(model: ModelBlock, *, vocabulary_size: int) -> Plan:
    """Embedding and encoder without a head: what the tokens become."""
    shape = model.shape(vocabulary_size)
    steps = (*model.embedding.steps(shape), *model.encoder.steps(shape))
    return Plan(steps=steps, outputs=("hidden",))


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
        state = tuple(tensors[name] for name in self._live[0])
        for index, step in enumerate(self.plan.steps):
            before, after = self._live[index], self._live[index + 1]
            module = self.get_submodule(step.key)
            state = run_step(
                step, module, state, before=before, after=after, recompute=self.recompute
            )
        return dict(zip(self.plan.outputs, state, strict=True))


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


def parameter_shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter by canonical name."""
    return {name: tuple(p.shape) for name, p in meta_model(plan).named_parameters()}


class FirstWeights:
    """The value that every parameter begins with: of its name and the seed, and of nothing else."""

    def __init__(self, plan: Plan, block: ModelBlock, *, seed: int) -> None:
        model = meta_model(plan)
        self._shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
        self._norms = frozenset(norm_parameters(model))
        self._block = block
        self._seed = seed

    @property
    def names(self) -> tuple[str, ...]:
        """Every parameter."""
        return tuple(self._shapes)

    def __getitem__(self, name: str) -> Tensor:
        """The whole fp32 tensor."""
        init, encoder = self._block.init, self._block.encoder
        return first_value(
            name,
            self._shapes[name],
            seed=self._seed,
            is_norm=name in self._norms,
            std=init.std,
            residual_outputs=encoder.residual_outputs() if init.residual_scaling else (),
            residual_branches=encoder.residual_branches,
        )


def initialise(model: PlainModel, block: ModelBlock, *, seed: int) -> None:
    """Give every parameter its first value."""
    first = FirstWeights(model.plan, block, seed=seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(first[name])


def parameter_count(plan: Plan) -> int:
    """Parameters of the plan, shared ones once."""
    return sum(math.prod(shape) for shape in parameter_shapes(plan).values())
