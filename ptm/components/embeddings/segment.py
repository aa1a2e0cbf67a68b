"""Segment embeddings: which of two texts a token belongs to (Devlin et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptm.components.embeddings.base import EmbeddingPart

if TYPE_CHECKING:
    from torch import nn

    from ptm.components.embeddings.config import EmbeddingConfig


SEGMENTS = 3
"""Rows of BERT's table: padding, first text, second text."""


class Segment(EmbeddingPart):
    """A table with one row for padding (0), the first text (1), the second text (2) …"""

    name = "segment"
    reads = "segment_ids"

    @classmethod
    def build(cls, config: EmbeddingConfig, width: int) -> nn.Module:
        """Build the table (1 + segments, E)."""
        from ptm.nn.embedding import SegmentEmbedding

        return SegmentEmbedding(config.segments, width)
