"""What an embedding is made of, and the recipe's `model.embedding` block."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cache
from typing import Annotated, ClassVar, Literal

from pydantic import field_validator, model_validator
from torch import Tensor, nn

from ptm.component import Config, Listed, NonNegativeInt, PositiveInt, classes_in
from ptm.errors import nearest
from ptm.nn.dropout import Dropout
from ptm.nn.shape import ModelShape
from ptm.nn.word_embedding import WORD, word_step
from ptm.plan import Step

SinusoidalOrder = Literal["halves", "interleaved", "uer"]


class EmbeddingPart(ABC):
    """A vector a token that is added to the word's."""

    name: ClassVar[str]
    reads: ClassVar[str]
    """The integer tensor (B, T) it looks at."""

    @classmethod
    @abstractmethod
    def build(cls, config: EmbeddingConfig, width: int) -> nn.Module:
        """A module (B, T) -> (B, T, E), or what can be added to it; `width` is E."""


@cache
def embedding_parts() -> dict[str, type[EmbeddingPart]]:
    """Every part that is a file of this package, by name."""
    parts = classes_in("ptm.components.embeddings", EmbeddingPart)  # type: ignore[type-abstract]
    return {part.name: part for part in parts}


class EmbeddingConfig(Config):
    """Which vectors are summed, and what happens to the sum."""

    of: Annotated[tuple[str, ...], Listed] = (WORD, "position", "segment")
    layer_norm: bool = True
    """Whether the sum is normalised, by the kind of norm that the encoder has."""
    scaled: bool = False
    """Multiply word vectors by the root of their width (Vaswani et al. 2017, section 3.4)."""
    size: PositiveInt | None = None
    """Width of the embedding where it is not the encoder's hidden_size; projected after the sum."""
    positions: PositiveInt = 512
    """Rows of the position table; without one, the length that an export promises."""
    position_offset: NonNegativeInt = 0
    """The row that position 0 reads (XLM-R and byte-BPE RoBERTa: 2, after the padding id)."""
    segments: PositiveInt = 2
    """Texts that the segment table tells apart; it has one row more, for padding."""
    tasks: PositiveInt = 3
    """Rows of the task table (ERNIE)."""
    sinusoidal_order: SinusoidalOrder = "halves"
    """halves: sines before cosines (PEGASUS in transformers); interleaved: by turns (Vaswani et
    al. 2017); uer: by turns too, but counted from 2 and with both ends among the wavelengths."""

    @field_validator("of")
    @classmethod
    def _known_parts(cls, of: tuple[str, ...]) -> tuple[str, ...]:
        known = {WORD, *embedding_parts()}
        for name in of:
            if name not in known:
                raise ValueError(f'no embedding is called "{name}".{nearest(name, known)}')
        if WORD not in of or len(set(of)) != len(of):
            raise ValueError(f"must name {WORD} and each part once, got {list(of)}")
        if "position" in of and "sinusoidal" in of:
            raise ValueError("position and sinusoidal both give positions: choose one")
        return of

    @model_validator(mode="after")
    def _offset_leaves_positions(self) -> EmbeddingConfig:
        if self.position_offset and not self.learns_positions:
            raise ValueError(
                f"position_offset = {self.position_offset} is a row of the position table, which "
                f"of = {list(self.of)} does not have"
            )
        if self.position_offset >= self.positions:
            raise ValueError(
                f"position_offset = {self.position_offset} leaves nothing of positions = "
                f"{self.positions}"
            )
        return self

    @property
    def learns_positions(self) -> bool:
        """Whether a table limits the length of a sequence."""
        return "position" in self.of

    @property
    def longest_sequence(self) -> int | None:
        """The most tokens an example may have; None where no table limits them."""
        return self.positions - self.position_offset if self.learns_positions else None

    def steps(self, shape: ModelShape, *, side: str = "") -> tuple[Step, ...]:
        """input_ids (and what the parts read) -> hidden (B, T, D); `side` begins the names."""
        parts = {name: embedding_parts()[name] for name in self.of if name != WORD}
        reads = ("hidden", *(part.reads for part in parts.values()))
        return (
            word_step(shape, name=f"{side}{WORD}"),
            Step(
                f"{side}embedding", lambda: _SummedEmbedding(self, parts, shape), reads, ("hidden",)
            ),
        )


class TargetEmbeddingConfig(EmbeddingConfig):
    """The embedding of a decoder."""

    shared: bool = True
    """Whether its word vectors are the encoder's; else it has a table of its own."""


class _SummedEmbedding(nn.Module):
    """Word vectors plus the other parts, normalised, dropped out, projected if need be."""

    def __init__(
        self, config: EmbeddingConfig, parts: dict[str, type[EmbeddingPart]], shape: ModelShape
    ) -> None:
        super().__init__()
        width = shape.embedding_size
        self.scale = math.sqrt(width) if config.scaled else None
        self.names = tuple(parts)
        for name, part in parts.items():
            self.add_module(name, part.build(config, width))
        self.norm = shape.norm(width) if config.layer_norm else None
        self.dropout = Dropout(shape.dropout)
        self.projection = (
            nn.Linear(width, shape.hidden_size, bias=shape.bias)
            if width != shape.hidden_size
            else nn.Identity()
        )

    def forward(self, words: Tensor, *ids: Tensor) -> Tensor:
        """(B, T, E), (B, T) a part -> (B, T, D)."""
        summed = words if self.scale is None else words * self.scale
        for name, indices in zip(self.names, ids, strict=True):
            summed = summed + self.get_submodule(name)(indices)
        if self.norm is not None:
            summed = self.norm(summed)
        summed = self.dropout(summed)
        projected: Tensor = self.projection(summed)
        return projected
