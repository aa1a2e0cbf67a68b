"""Builds a plan from the blocks of a recipe."""

from __future__ import annotations

from dataclasses import replace

from ptm.components.objectives import Objective
from ptm.data.placement import DECODER_SIDE, EXAMPLE_IDS
from ptm.data.sides_apart import MEMORY_CELLS, MEMORY_IDS
from ptm.nn.model_shape import ModelShape
from ptm.plan import Operation, Plan
from ptm.recipe import Recipe
from ptm.recipe.model_block import ModelBlock

_MEMORY = {"hidden": "memory"}
"""With a decoder, the encoder's output gets another name, because the head reads `hidden`."""


def build_plan(
    model: ModelBlock,
    objective: Objective,
    *,
    vocabulary_size: int,
    target_vocabulary_size: int | None = None,
    outputs: tuple[str, ...] | None = None,
    sides_apart: bool = False,
) -> Plan:
    """Build the plan of embedding, encoder, decoder if any, and head.

    Args:
        model: The recipe's `model` block.
        objective: The recipe's objective, which builds the head.
        vocabulary_size: Size of the (source) vocabulary.
        target_vocabulary_size: Size of the target vocabulary, if it is another one.
        outputs: Names of the plan's outputs, such as `logits`; by default those that the objective
            computes its loss from.
        sides_apart: Whether the encoder's and the decoder's side of a batch have rows of their own
            (`ptm.data.sides_apart`).
    """
    shape = head_shape(model, vocabulary_size, target_vocabulary_size)
    steps = (*_encoder_operations(model, vocabulary_size), *objective.operations(shape))
    if model.decoder is not None:
        memory_ids = {EXAMPLE_IDS: MEMORY_IDS} if sides_apart else {}
        steps = (
            *(step.renamed(_MEMORY) for step in _encoder_operations(model, vocabulary_size)),
            *(_memory_rows() if sides_apart else ()),
            *(
                step.renamed(DECODER_SIDE)
                for step in model.decoder_embedding.operations(shape, side="target_")
            ),
            *(step.renamed(memory_ids) for step in model.decoder.operations(shape)),
            *objective.operations(shape),
        )
    outputs = objective.outputs if outputs is None else outputs
    return Plan(operations=steps, outputs=outputs).only(*outputs)


def training_plan(
    recipe: Recipe,
    *,
    vocabulary_size: int,
    target_vocabulary_size: int | None = None,
    outputs: tuple[str, ...] | None = None,
) -> Plan:
    """The plan that a recipe trains: the model's, with the parameters of `adapter` if there is one.

    `outputs`: as for `build_plan`; another plan of the same modules.

    Raises UserError if the adapter has nothing to adapt.
    """
    plan = build_plan(
        recipe.model,
        recipe.objective,
        vocabulary_size=vocabulary_size,
        target_vocabulary_size=target_vocabulary_size,
        outputs=outputs,
        sides_apart=recipe.packs_sides_apart,
    )
    return plan if recipe.adapter is None else recipe.adapter.adapted(plan)


def _memory_rows() -> tuple[Operation, ...]:
    from ptm.nn.memory_rows import MemoryRows

    return (Operation("memory_rows", MemoryRows, ("memory", MEMORY_CELLS), ("memory",)),)


def head_shape(
    model: ModelBlock, vocabulary_size: int, target_vocabulary_size: int | None = None
) -> ModelShape:
    """The model shape on the side of the head: that of the decoder if any, else of the encoder."""
    if model.decoder is None:
        return model.shape(vocabulary_size)
    return model.target_shape(target_vocabulary_size or vocabulary_size)


def encoder_plan(model: ModelBlock, *, vocabulary_size: int) -> Plan:
    """The plan of embedding and encoder without a head; its output is `hidden`."""
    return Plan(operations=_encoder_operations(model, vocabulary_size), outputs=("hidden",))


def layers_plan(model: ModelBlock, *, vocabulary_size: int) -> Plan:
    """The plan of embedding and encoder without a head; its outputs are `layer_00`, `layer_01`, …

    These are the embedding, the output of each layer but the last, and that of the whole encoder,
    after its final norm if it has one (transformers' `hidden_states`). Their widths are those of
    the embedding (as the first layer reads it) and of the encoder.
    """
    operations: list[Operation] = []
    layer = 0
    for step in _encoder_operations(model, vocabulary_size):
        reads = {"hidden": f"layer_{layer:02}"}
        layer += step.block
        operations.append(
            replace(
                step,
                reads=tuple(reads.get(name, name) for name in step.reads),
                writes=tuple(f"layer_{layer:02}" if n == "hidden" else n for n in step.writes),
            )
        )
    return Plan(tuple(operations), tuple(f"layer_{index:02}" for index in range(layer + 1)))


def _encoder_operations(model: ModelBlock, vocabulary_size: int) -> tuple[Operation, ...]:
    shape = model.shape(vocabulary_size)
    read = model.encoder.embedding_shape(shape)
    return (*model.embedding.operations(read), *model.encoder.operations(shape))
