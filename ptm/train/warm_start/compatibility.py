"""Whether weights mean here what they were trained to mean."""

from __future__ import annotations

from collections.abc import Collection

from ptm.component import Config
from ptm.components.embeddings.config import EmbeddingConfig
from ptm.errors import UserError
from ptm.nn.model_shape import WORD, WORD_KEY
from ptm.recipe.model_block import ModelBlock

_MAY_DIFFER = {"layers", "norm_epsilon", "visibility"}
"""Of a stack, between weights and who goes on from them: a PrefixLM may begin as a BERT."""


def refuse_other_arithmetic(
    path: str, theirs: ModelBlock, ours: ModelBlock, shared: Collection[str]
) -> None:
    """Raise UserError where tensors of one shape would be used in another way than learnt.

    `path`: where `theirs` is; `shared`: names of the tensors that both have.
    """
    _refuse_other_stack(path, "encoder", theirs.encoder, ours.encoder)
    if theirs.decoder is not None and ours.decoder is not None:
        _refuse_other_stack(path, "decoder", theirs.decoder, ours.decoder)
    sides = {"embedding": (theirs.embedding, ours.embedding)}
    if theirs.decoder is not None and ours.decoder is not None:
        sides["target_embedding"] = (theirs.decoder_embedding, ours.decoder_embedding)
    for name, (there, here) in sides.items():
        if f"{name}.position.weight" in shared:
            _refuse_other_first_position(path, name, there, here)
    if f"{WORD_KEY}.weight" in shared:
        _refuse_other_words(path, theirs.embedding, ours.embedding)


def _refuse_other_stack(path: str, name: str, theirs: Config, ours: Config) -> None:
    there, here = theirs.model_dump(), ours.model_dump()
    if there["type"] != here["type"]:
        return
    for key in sorted(there.keys() - _MAY_DIFFER):
        if there[key] != here[key]:
            raise UserError(
                f"init_from: {path}: its weights were trained with model.{name}.{key} = "
                f"{there[key]}; this recipe says {here[key]}, under which they mean nothing."
            )


def _refuse_other_first_position(
    path: str, name: str, theirs: EmbeddingConfig, ours: EmbeddingConfig
) -> None:
    """Position 0 would read another row of the table than it was trained in."""
    there, here = theirs.position_offset, ours.position_offset
    if there != here:
        raise UserError(
            f"init_from: {path}: its positions were trained with model.{name}.position_offset = "
            f"{there}; this recipe says {here}, so that every position would read another's vector."
        )


def _refuse_other_words(path: str, theirs: EmbeddingConfig, ours: EmbeddingConfig) -> None:
    """Words would weigh otherwise beside positions, or positions come in another order."""
    keys = ["scaled"]
    if "sinusoidal" in theirs.of and "sinusoidal" in ours.of:
        keys.append("sinusoidal_order")
    for key in keys:
        there, here = getattr(theirs, key), getattr(ours, key)
        if there != here:
            raise UserError(
                f"init_from: {path}: its {WORD} vectors were trained with model.embedding.{key} = "
                f"{there}; this recipe says {here}, under which they mean nothing."
            )
