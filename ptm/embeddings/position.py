"""Learnt positions (Devlin et al. 2018)."""

from __future__ import annotations

from torch import nn

from ptm.embeddings.contract import EmbeddingPart
from ptm.nn.shape import ModelShape


class Position(EmbeddingPart):
    """A table with one row a position; positions begin at 0 in every example of a row."""

    name = "position"
    reads = "position_ids"

    @classmethod
    def build(cls, shape: ModelShape) -> nn.Module:
        """The table (positions, E)."""
        return nn.Embedding(shape.positions, shape.embedding_size)
