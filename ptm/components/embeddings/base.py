"""What every part of an embedding is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import nn

    from ptm.components.embeddings.config import EmbeddingConfig


class EmbeddingPart(ABC):
    """A vector a token that is added to the word's."""

    name: ClassVar[str]
    reads: ClassVar[str]
    """The integer tensor (B, T) it looks at."""

    @classmethod
    @abstractmethod
    def build(cls, config: EmbeddingConfig, width: int) -> nn.Module:
        """A module (B, T) -> (B, T, E), or what can be added to it; `width` is E."""
