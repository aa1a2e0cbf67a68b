"""Learned position embeddings (Devlin et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptm.components.embeddings.base import EmbeddingPart

if TYPE_CHECKING:
    from torch import nn

    from ptm.components.embeddings.config import EmbeddingConfig


class Position(EmbeddingPart):
    """A table with one row per position."""

    name = "position"
    reads = "position_ids"

    @classmethod
    def build(cls, config: EmbeddingConfig, width: int) -> nn.Module:
        """Build the table (positions, E)."""
        from ptm.nn.positions import PositionTable

        return PositionTable(config.positions, width, offset=config.position_offset)
