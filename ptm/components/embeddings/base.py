"""The base class of all embedding parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import nn

    from ptm.components.embeddings.config import EmbeddingConfig


class EmbeddingPart(ABC):
    """One vector per token, added to the word embedding."""

    name: ClassVar[str]
    """The name in the recipe's `model.embedding.parts` and in parameter names."""
    reads: ClassVar[str]
    """The name of the integer tensor (B, T) that is embedded."""

    @classmethod
    @abstractmethod
    def build(cls, config: EmbeddingConfig, width: int) -> nn.Module:
        """Build a module (B, T) -> (B, T, E), or a shape that broadcasts to it; `width` is E."""
