"""Sinusoidal positions (Vaswani et al. 2017, section 3.5), computed, not learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptm.components.embeddings.base import EmbeddingPart

if TYPE_CHECKING:
    from torch import nn

    from ptm.components.embeddings.config import EmbeddingConfig


class Sinusoidal(EmbeddingPart):
    """Positions without a table, hence without a longest sequence."""

    name = "sinusoidal"
    reads = "position_ids"

    @classmethod
    def build(cls, config: EmbeddingConfig, width: int) -> nn.Module:
        """No parameters."""
        from ptm.nn.positions import SinusoidalPositions

        return SinusoidalPositions(width, order=config.sinusoidal_order)
