"""Embeddings: a sum of parts. Each part is one file, found by scanning this package."""

from ptm.components.embeddings.base import EmbeddingPart
from ptm.components.embeddings.config import EmbeddingConfig, TargetEmbeddingConfig

__all__ = ["EmbeddingConfig", "EmbeddingPart", "TargetEmbeddingConfig"]
