"""From a recipe's blocks to a plan, and from a plan to a plain module."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ptm.components.decoders import Decoder
from ptm.components.decoders.base import DECODER_SIDE
from ptm.components.encoders import Encoder
from ptm.components.objectives import Objective
from ptm.model.initial_weights import first_value, norm_parameters
from ptm.nn.shape import ModelShape
from ptm.nn.word_embedding import WordEmbedding
from ptm.plan import Plan, Step, run_step
from ptm.recipe.model_block import ModelBlock

_MEMORY = {"hidden": "memory"}
"""With a decoder, what the encoder makes is something else than what the head reads."""


def build_plan(
    model: ModelBlock,
    objective: Objective,
    *,
    vocabulary_size: int,
    target_vocabulary_size: int | None = None,
    outputs: tuple[str, ...] | None = None,
) -> Plan:
    """Embedding, encoder, decoder if there is one, and head as one straight-line program.

    `target_vocabulary_size`: where it is not the source's. `outputs`: what is asked of the model
    (`logits`) if not what the objective learns from.
    """
    shape = head_shape(model, vocabulary_size, target_vocabulary_size)
    steps = (*_encoder_steps(model, vocabulary_size), *objective.steps(shape))
    if model.decoder is not None:
        steps = (
            *(step.renamed(_MEMORY) for step in _encoder_steps(model, vocabulary_size)),
            *(
                step.renamed(DECODER_SIDE)
                for step in model.decoder_embedding.steps(shape, side="target_")
            ),
            *model.decoder.steps(shape),
            *objective.steps(shape),
        )
    outputs = objective.outputs if outputs is None else outputs
    return Plan(steps=steps, outputs=outputs).only(*outputs)


def head_shape(
    model: ModelBlock, vocabulary_size: int, target_vocabulary_size: int | None = None
) -> ModelShape:
    """The shape of the side that the head is on."""
    if model.decoder is None:
        return model.shape(vocabulary_size)
    return model.target_shape(target_vocabulary_size or vocabulary_size)


def encoder_plan(model: ModelBlock, *, vocabulary_size: int) -> Plan:
    """Embedding and encoder without a head: what the tokens become."""
    return Plan(steps=_encoder_steps(model, vocabulary_size), outputs=("hidden",))


def _encoder_steps(model: ModelBlock, vocabulary_size: int) -> tuple[Step, ...]:
    shape = model.shape(vocabulary_size)
    return (*model.embedding.steps(shape), *model.encoder.steps(shape))


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


def parameter_shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter by canonical name."""
    return {name: tuple(p.shape) for name, p in meta_model(plan).named_parameters()}


class FirstWeights:
    """The value that every parameter begins with: of its name and the seed, and of nothing else."""

    def __init__(self, plan: Plan, block: ModelBlock, *, seed: int) -> None:
        model = meta_model(plan)
        self._shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
        self._norms = frozenset(norm_parameters(model))
        self._words = frozenset(
            f"{name}.weight"
            for name, module in model.named_modules()
            if isinstance(module, WordEmbedding)
        )
        self._block = block
        self._seed = seed

    @property
    def names(self) -> tuple[str, ...]:
        """Every parameter."""
        return tuple(self._shapes)

    def __getitem__(self, name: str) -> Tensor:
        """The whole fp32 tensor."""
        init = self._block.init
        stack: Encoder | Decoder = self._block.encoder
        if self._block.decoder is not None and name.startswith("decoder_"):
            stack = self._block.decoder
        return first_value(
            name,
            self._shapes[name],
            seed=self._seed,
            is_norm=name in self._norms,
            std=(name in self._words and init.embedding_std) or init.std,
            residual_outputs=stack.residual_outputs() if init.residual_scaling else (),
            residual_branches=stack.residual_branches,
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
