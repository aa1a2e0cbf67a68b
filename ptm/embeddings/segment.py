"""Segments: which of two texts a token belongs to (Devlin et al. 2018)."""

from __future__ import annotations

from torch import nn

from ptm.embeddings.contract import EmbeddingPart
from ptm.nn.shape import ModelShape

SEGMENTS = 3
"""Padding, first text, second text."""


class Segment(EmbeddingPart):
    """A table with a row for padding (0), the first (1) and the second text (2)."""

    name = "segment"
    reads = "segment_ids"

    @classmethod
    def build(cls, shape: ModelShape) -> nn.Module:
        """The table (3, E)."""
        return nn.Embedding(SEGMENTS, shape.embedding_size)
