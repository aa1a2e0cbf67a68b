"""The longest text that a model of sentence embeddings reads."""

from __future__ import annotations

from ptm.components.objectives.embedded_texts import EmbeddedTexts
from ptm.interop.sources.base import ModelSource


def embeds_texts(source: ModelSource) -> EmbeddedTexts | None:
    """Return the objective of a model of sentence embeddings; None for any other model."""
    objective = source.recipe().objective.without_teachers
    return objective if isinstance(objective, EmbeddedTexts) else None


def longest_text(source: ModelSource) -> int | None:
    """Return the most tokens of a text, special tokens included; None: no limit.

    That of `objective.max_length`, or of the rows of the training, but at most as many as the
    model has positions.
    """
    positions = source.recipe().model.embedding.max_sequence_length
    objective = embeds_texts(source)
    if objective is None:
        return positions
    longest = objective.max_length or source.data_recipe().data.sequence_length
    return longest if positions is None else min(longest, positions)


def limit_of_texts(source: ModelSource) -> str:
    """Return the key that `longest_text` is from."""
    positions = source.recipe().model.embedding.max_sequence_length
    objective = embeds_texts(source)
    if objective is None:
        return "model.embedding.max_sequence_length"
    own = objective.max_length
    longest = own or source.data_recipe().data.sequence_length
    if positions is not None and positions < longest:
        return "model.embedding.max_sequence_length"
    return "data.sequence_length" if own is None else "objective.max_length"
