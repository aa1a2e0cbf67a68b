"""From a recipe's blocks to a plan."""

from __future__ import annotations

from ptm.components.objectives import Objective
from ptm.data.placement import DECODER_SIDE
from ptm.nn.model_shape import ModelShape
from ptm.plan import Plan, Step
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
