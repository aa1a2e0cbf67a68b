"""Check that a recipe uses warm-start weights in the same way as the model they come from."""

from __future__ import annotations

from collections.abc import Collection

from ptm.component import Config
from ptm.components.decoders.base import Decoder
from ptm.components.embeddings.config import EmbeddingConfig
from ptm.components.encoders.base import Encoder
from ptm.errors import UserError
from ptm.nn.model_shape import WORD, WORD_KEY
from ptm.recipe.model_block import ModelBlock

_TABLES = {"position": "positions", "segment": "segments", "task": "tasks"}
"""Parts of an embedding with a table, and the keys that give its number of rows."""
_MAY_DIFFER = {"layers", "norm_epsilon", "visibility"}
"""Keys of an encoder or decoder that may differ: a PrefixLM may start from a BERT."""


def check_sizes(path: str, source: ModelBlock, recipe: ModelBlock) -> None:
    """Raise UserError if the stacks of the source have another width than those of the recipe."""
    for name in ("encoder", "decoder"):
        theirs, ours = getattr(source, name), getattr(recipe, name)
        if theirs is None or ours is None or theirs.hidden_size == ours.hidden_size:
            continue
        raise UserError(
            f"init_from: {path}: the {name} has {_size(theirs)}, but this recipe has {_size(ours)} "
            f"(model.{name}.hidden_size). Choose a model of the same width, or change the recipe."
        )


def _size(stack: Encoder | Decoder) -> str:
    layers = stack.layers
    return f"{layers} layer{'s' if layers > 1 else ''} of width {stack.hidden_size}"


def check_compatible(
    path: str, source: ModelBlock, recipe: ModelBlock, shared: Collection[str]
) -> None:
    """Raise UserError if a shared tensor would be used in another computation than in training.

    `path`: the source that `source` describes. `shared`: names of the tensors in both models.
    """
    _check_stack(path, "encoder", source.encoder, recipe.encoder)
    if source.decoder is not None and recipe.decoder is not None:
        _check_stack(path, "decoder", source.decoder, recipe.decoder)
    sides = {"embedding": (source.embedding, recipe.embedding)}
    if source.decoder is not None and recipe.decoder is not None:
        sides["target_embedding"] = (source.decoder_embedding, recipe.decoder_embedding)
    for name, (there, here) in sides.items():
        for part, key in _TABLES.items():
            if f"{name}.{part}.weight" in shared:
                _check_rows(path, f"model.{name}.{key}", getattr(there, key), getattr(here, key))
        if f"{name}.position.weight" in shared:
            _check_first_position(path, name, there, here)
    if f"{WORD_KEY}.weight" in shared:
        _check_word_embedding(path, source.embedding, recipe.embedding)
        _check_word_rows(path, source.embedding.rows, recipe.embedding.rows)


def _check_stack(path: str, name: str, source: Config, recipe: Config) -> None:
    there, here = source.model_dump(), recipe.model_dump()
    if there["type"] != here["type"]:
        return
    for key in sorted(there.keys() - _MAY_DIFFER):
        if there[key] != here[key]:
            raise UserError(
                f"init_from: {path}: the weights were trained with model.{name}.{key} = "
                f"{there[key]}, but this recipe has {here[key]}, with which these weights are "
                "meaningless. Set the value of the source."
            )


def _check_rows(path: str, key: str, there: int, here: int) -> None:
    if there != here:
        raise UserError(
            f"init_from: {path}: the model was trained with {key} = {there}, but this recipe has "
            f"{here}. Set the value of the source."
        )


def _check_word_rows(path: str, theirs: int | None, ours: int | None) -> None:
    if theirs != ours:
        fix = "Remove the key" if theirs is None else f"Set model.embedding.rows: {theirs}"
        raise UserError(
            f"init_from: {path}: the word embedding has {_rows(theirs)}, but that of this recipe "
            f"has {_rows(ours)} (model.embedding.rows). {fix}."
        )


def _rows(rows: int | None) -> str:
    return "one row per token" if rows is None else f"{rows} rows"


def _check_first_position(
    path: str, name: str, source: EmbeddingConfig, recipe: EmbeddingConfig
) -> None:
    """Check that position 0 reads the same row of the position table as in training."""
    there, here = source.position_offset, recipe.position_offset
    if there != here:
        raise UserError(
            f"init_from: {path}: the positions were trained with model.{name}.position_offset = "
            f"{there}, but this recipe has {here}, which gives each position the vector of "
            "another. Set the value of the source."
        )


def _check_word_embedding(path: str, source: EmbeddingConfig, recipe: EmbeddingConfig) -> None:
    """Check that the scale of words and the order of sinusoidal positions are as in training."""
    keys = ["scaled"]
    if "sinusoidal" in source.parts and "sinusoidal" in recipe.parts:
        keys.append("sinusoidal_order")
    for key in keys:
        there, here = getattr(source, key), getattr(recipe, key)
        if there != here:
            raise UserError(
                f"init_from: {path}: the {WORD} vectors were trained with model.embedding.{key} = "
                f"{there}, but this recipe has {here}, with which these vectors are meaningless. "
                "Set the value of the source."
            )
