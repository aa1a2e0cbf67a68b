"""Check that a recipe uses warm-start weights in the same way as the model they come from."""

from __future__ import annotations

from collections.abc import Collection

from ptm.component import Config
from ptm.components.embeddings.config import EmbeddingConfig
from ptm.errors import UserError
from ptm.nn.model_shape import WORD, WORD_KEY
from ptm.recipe.model_block import ModelBlock

_MAY_DIFFER = {"layers", "norm_epsilon", "visibility"}
"""Keys of an encoder or decoder that may differ: a PrefixLM may start from a BERT."""


def check_compatible(
    path: str, theirs: ModelBlock, ours: ModelBlock, shared: Collection[str]
) -> None:
    """Raise UserError if a shared tensor would be used in another computation than in training.

    `path`: the source that `theirs` describes. `shared`: names of the tensors in both models.
    """
    _check_stack(path, "encoder", theirs.encoder, ours.encoder)
    if theirs.decoder is not None and ours.decoder is not None:
        _check_stack(path, "decoder", theirs.decoder, ours.decoder)
    sides = {"embedding": (theirs.embedding, ours.embedding)}
    if theirs.decoder is not None and ours.decoder is not None:
        sides["target_embedding"] = (theirs.decoder_embedding, ours.decoder_embedding)
    for name, (there, here) in sides.items():
        if f"{name}.position.weight" in shared:
            _check_first_position(path, name, there, here)
    if f"{WORD_KEY}.weight" in shared:
        _check_word_embedding(path, theirs.embedding, ours.embedding)


def _check_stack(path: str, name: str, theirs: Config, ours: Config) -> None:
    there, here = theirs.model_dump(), ours.model_dump()
    if there["type"] != here["type"]:
        return
    for key in sorted(there.keys() - _MAY_DIFFER):
        if there[key] != here[key]:
            raise UserError(
                f"init_from: {path}: the weights were trained with model.{name}.{key} = "
                f"{there[key]}, but this recipe has {here[key]}, for which they are meaningless. "
                "Use the value of the source."
            )


def _check_first_position(
    path: str, name: str, theirs: EmbeddingConfig, ours: EmbeddingConfig
) -> None:
    """Check that position 0 reads the same row of the position table as in training."""
    there, here = theirs.position_offset, ours.position_offset
    if there != here:
        raise UserError(
            f"init_from: {path}: the positions were trained with model.{name}.position_offset = "
            f"{there}, but this recipe has {here}, which gives each position the vector of "
            "another. Use the value of the source."
        )


def _check_word_embedding(path: str, theirs: EmbeddingConfig, ours: EmbeddingConfig) -> None:
    """Check that the scale of words and the order of sinusoidal positions are as in training."""
    keys = ["scaled"]
    if "sinusoidal" in theirs.parts and "sinusoidal" in ours.parts:
        keys.append("sinusoidal_order")
    for key in keys:
        there, here = getattr(theirs, key), getattr(ours, key)
        if there != here:
            raise UserError(
                f"init_from: {path}: the {WORD} vectors were trained with model.embedding.{key} = "
                f"{there}, but this recipe has {here}, for which they are meaningless. Use the "
                "value of the source."
            )
