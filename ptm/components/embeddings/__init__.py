"""Embeddings: parts that are summed, each in one file, found by scanning this package."""

from ptm.components.embeddings.base import EmbeddingConfig, EmbeddingPart, TargetEmbeddingConfig

__all__ = ["EmbeddingConfig", "EmbeddingPart", "TargetEmbeddingConfig"]
