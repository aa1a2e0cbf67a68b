"""The options that decide what a trained model computes, and where two models differ.

An export compares the recipe's model with the model that the written config describes. An option
that differs is one that the format cannot express, whatever the option is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ptm.component import Config
from ptm.components.decoders import Decoder
from ptm.components.decoders.transformer import TransformerDecoder
from ptm.components.embeddings import EmbeddingConfig
from ptm.components.encoders import Encoder
from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives import Objective
from ptm.model.build import head_shape
from ptm.nn.model_shape import WORD
from ptm.plan import Plan
from ptm.recipe.model_block import ModelBlock

Options = dict[str, Any]
"""Dotted path in the recipe to the value; an option that has no effect in a model is absent."""
EMBEDDINGS = ("model.embedding", "model.target_embedding")
OBJECTIVE = "objective"
HEAD = f"{OBJECTIVE}.head"

_OF_PARTS = {
    "positions": ("position", "sinusoidal"),
    "position_offset": ("position",),
    "sinusoidal_order": ("sinusoidal",),
    "segments": ("segment",),
    "tasks": ("task",),
}
"""Options of an embedding that have an effect only with one of some parts."""


def effective_options(model: ModelBlock, objective: Objective) -> Options:
    """The options of embeddings, stacks and head, with defaults that follow from others filled in.

    Dropout and initial weights belong to the training, and the rows of the word embedding to the
    vocabulary, so they are not included.
    """
    found = _of_stack("model.encoder", model.encoder)
    found |= _of_embedding(EMBEDDINGS[0], model.embedding, width=model.encoder.hidden_size)
    if model.decoder is not None:
        found |= _of_stack("model.decoder", model.decoder)
        target = model.decoder_embedding
        found |= _of_embedding(EMBEDDINGS[1], target, width=model.decoder.hidden_size)
    return {**found, **head_options(objective)}


def head_options(objective: Objective) -> Options:
    """The options of the objective's head."""
    return _flat(OBJECTIVE, objective.head_options)


def first_difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """A phrase for messages on the first option with another value; None if all are equal.

    `theirs` may have further options: those of tables that an export adds.
    """
    for path, value in ours.items():
        if path not in theirs:
            return f"{path} = {_shown(value)}"
        if theirs[path] != value:
            return f"{path} = {_shown(value)}, not {_shown(theirs[path])}"
    return None


def head_modules(model: ModelBlock, objective: Objective) -> set[str]:
    """Names of the modules of the objective's head that have parameters."""
    plan = Plan(objective.operations(head_shape(model, 1)), objective.outputs)
    return {name.partition(".")[0] for name in plan.parameter_shapes}


def ordered(parts: Iterable[str]) -> tuple[str, ...]:
    """Parts of an embedding, which is a sum, in an order that does not depend on the recipe."""
    return tuple(sorted(parts, key=lambda part: (part != WORD, part)))


def _of_stack(name: str, stack: Encoder | Decoder) -> Options:
    options = dict(stack)
    if isinstance(stack, Transformer | TransformerDecoder):
        shape = stack.head_shape
        options |= {"head_size": shape.head_size, "key_value_heads": shape.key_value_heads}
    if isinstance(stack, Transformer):
        windowed = not all(stack.is_global(index) for index in range(stack.layers))
        if not windowed:
            options |= {"window": None, "global_every": None}
        if stack.rotary is not None:
            theta, local = stack.rotary.theta, stack.rotary.local_theta
            local = (local or theta) if windowed else None
            options["rotary"] = {"theta": theta, "local_theta": local}
        # The window before the options that depend on it.
        options = {"window": options.pop("window"), **options}
    return _flat(name, options)


def _of_embedding(name: str, embedding: EmbeddingConfig, *, width: int) -> Options:
    options = dict(embedding)
    del options["rows"]
    for key, parts in _OF_PARTS.items():
        if not set(parts) & set(embedding.parts):
            del options[key]
    options |= {"parts": ordered(embedding.parts), "size": embedding.size or width}
    return _flat(name, options)


def _flat(name: str, options: Mapping[str, Any]) -> Options:
    """The options by dotted path, with those of nested blocks; a block that is not set is None."""
    found: Options = {}
    for key, value in options.items():
        nested = dict(value) if isinstance(value, Config | dict) else None
        found |= {f"{name}.{key}": value} if nested is None else _flat(f"{name}.{key}", nested)
    return found


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return value if isinstance(value, str) else json.dumps(value)
