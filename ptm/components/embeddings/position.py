"""Learnt positions (Devlin et al. 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from ptm.components.embeddings.base import EmbeddingConfig, EmbeddingPart


class PositionTable(nn.Embedding):
    """A row a position, the first `offset` rows before position 0."""

    def __init__(self, positions: int, width: int, *, offset: int) -> None:
        super().__init__(positions, width)
        self.offset = offset

    def forward(self, position_ids: Tensor) -> Tensor:
        """(B, T), from 0 in every example of a row -> (B, T, E)."""
        return super().forward(position_ids + self.offset)


class Position(EmbeddingPart):
    """A table with one row a position."""

    name = "position"
    reads = "position_ids"

    @classmethod
    def build(cls, config: EmbeddingConfig, width: int) -> nn.Module:
        """The table (positions, E)."""
        return PositionTable(config.positions, width, offset=config.position_offset)
