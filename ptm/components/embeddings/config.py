"""The recipe's `model.embedding` block: the summed vectors, their norm and their projection."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated

from pydantic import field_validator, model_validator

from ptm.component import (
    Config,
    LayerSize,
    Listed,
    NonNegativeInt,
    PositionCount,
    PositiveInt,
    classes_in,
)
from ptm.components.embeddings.base import EmbeddingPart
from ptm.errors import nearest
from ptm.nn.model_shape import WORD, ModelShape, SinusoidalOrder
from ptm.plan import Operation

if TYPE_CHECKING:
    from torch import nn


@cache
def embedding_parts() -> dict[str, type[EmbeddingPart]]:
    """All embedding parts of this package by name, without the word embedding."""
    parts = classes_in("ptm.components.embeddings", EmbeddingPart)  # type: ignore[type-abstract]
    return {part.name: part for part in parts}


class EmbeddingConfig(Config):
    """The input embedding: the summed parts, and the norm, scale and width of the sum."""

    parts: Annotated[tuple[str, ...], Listed] = (WORD, "position", "segment")
    """The summed parts; `word` is required."""
    layer_norm: bool = True
    """Whether the sum is normalised, with the encoder's kind of norm."""
    scaled: bool = False
    """Multiply word vectors by the square root of their width (Vaswani et al. 2017, section 3.4).
    """
    size: LayerSize | None = None
    """Width of the embedding, if it differs from the encoder's hidden_size. The sum is projected to
    hidden_size, except for recurrent and convolutional encoders, whose first layer reads any width.
    """
    rows: PositiveInt | None = None
    """Rows of the word embedding and of the output layer, if they are more than the tokens of the
    vocabulary (tables padded to a multiple of 8 or 64). The rows beyond the vocabulary are never
    read and never generated. They take part in the softmax of the loss, as in transformers.
    """
    positions: PositionCount = 512
    """Rows of the position table. Without a position table, the maximum length that an export
    declares."""
    position_offset: NonNegativeInt = 0
    """Row of the position table for position 0 (XLM-R and byte-BPE RoBERTa: 2, after the padding
    id)."""
    segments: LayerSize = 2
    """Number of segments of an example. The segment table has one more row, for padding. With 1,
    as in RoBERTa, all texts of an example have the same segment."""
    tasks: LayerSize = 3
    """Rows of the task table (ERNIE)."""
    sinusoidal_order: SinusoidalOrder = "halves"
    """halves: all sines before all cosines (PEGASUS in transformers). interleaved: sines and
    cosines alternate (Vaswani et al. 2017). uer: interleaved, but positions count from 2 and the
    wavelengths include both ends of their range."""

    @field_validator("parts")
    @classmethod
    def _check_parts(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        known = {WORD, *embedding_parts()}
        for name in parts:
            if name not in known:
                raise ValueError(f'"{name}" is not an embedding part.{nearest(name, known)}')
        if WORD not in parts or len(set(parts)) != len(parts):
            raise ValueError(f"must contain {WORD} and list no part twice, but is {list(parts)}")
        if "position" in parts and "sinusoidal" in parts:
            raise ValueError("position and sinusoidal both encode positions. Use only one of them.")
        return parts

    @model_validator(mode="after")
    def _check_position_offset(self) -> EmbeddingConfig:
        if self.position_offset and not self.has_position_table:
            raise ValueError(
                f"position_offset = {self.position_offset} needs a position table, but parts = "
                f"{list(self.parts)} has no position. Add position to parts or remove "
                "position_offset."
            )
        if self.position_offset >= self.positions:
            raise ValueError(
                f"position_offset = {self.position_offset} leaves no row for a position, because "
                f"positions = {self.positions}. Set positions above position_offset."
            )
        return self

    @property
    def has_position_table(self) -> bool:
        """Whether there is a trained position table, which limits the length of a sequence."""
        return "position" in self.parts

    @property
    def max_sequence_length(self) -> int | None:
        """The maximum number of tokens per example; None without a position table."""
        return self.positions - self.position_offset if self.has_position_table else None

    def operations(self, shape: ModelShape, *, side: str = "") -> tuple[Operation, ...]:
        """The operations from input_ids and the ids that the parts read to hidden (B, T, D).

        `side` is a prefix of the operations' names.
        """
        from ptm.nn.embedding import word_operation

        parts = {name: embedding_parts()[name] for name in self.parts if name != WORD}
        reads = ("hidden", *(part.reads for part in parts.values()))
        build = partial(self._summed, parts, shape)
        return (
            word_operation(shape, name=f"{side}{WORD}"),
            Operation(f"{side}embedding", build, reads, ("hidden",)),
        )

    def _summed(self, parts: Mapping[str, type[EmbeddingPart]], shape: ModelShape) -> nn.Module:
        from ptm.nn.embedding import SummedEmbedding

        modules = {name: part.build(self, shape.embedding_size) for name, part in parts.items()}
        return SummedEmbedding(modules, shape, scaled=self.scaled, normed=self.layer_norm)


class TargetEmbeddingConfig(EmbeddingConfig):
    """The decoder's input embedding."""

    shared: bool = True
    """Whether the decoder shares the encoder's word embedding instead of having its own."""
