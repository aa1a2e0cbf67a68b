"""The recipe's `model.embedding` block: which vectors are summed, and what happens to the sum."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated

from pydantic import field_validator, model_validator

from ptm.component import Config, Listed, NonNegativeInt, PositiveInt, classes_in
from ptm.components.embeddings.base import EmbeddingPart
from ptm.errors import nearest
from ptm.nn.model_shape import WORD, ModelShape, SinusoidalOrder
from ptm.plan import Step

if TYPE_CHECKING:
    from torch import nn


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
        from ptm.nn.embedding import word_step

        parts = {name: embedding_parts()[name] for name in self.of if name != WORD}
        reads = ("hidden", *(part.reads for part in parts.values()))
        build = partial(self._summed, parts, shape)
        return (
            word_step(shape, name=f"{side}{WORD}"),
            Step(f"{side}embedding", build, reads, ("hidden",)),
        )

    def _summed(self, parts: Mapping[str, type[EmbeddingPart]], shape: ModelShape) -> nn.Module:
        from ptm.nn.embedding import SummedEmbedding

        modules = {name: part.build(self, shape.embedding_size) for name, part in parts.items()}
        return SummedEmbedding(modules, shape, scaled=self.scaled, normed=self.layer_norm)


class TargetEmbeddingConfig(EmbeddingConfig):
    """The embedding of a decoder."""

    shared: bool = True
    """Whether its word vectors are the encoder's; else it has a table of its own."""
