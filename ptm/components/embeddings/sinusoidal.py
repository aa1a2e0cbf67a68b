"""Sinusoidal position encodings (Vaswani et al. 2017, section 3.5), computed, not trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptm.components.embeddings.base import EmbeddingPart

if TYPE_CHECKING:
    from torch import nn

    from ptm.components.embeddings.config import EmbeddingConfig


class Sinusoidal(EmbeddingPart):
    """Positions without a table, hence without a maximum sequence length."""

    name = "sinusoidal"
    reads = "position_ids"

    @classmethod
    def build(cls, config: EmbeddingConfig, width: int) -> nn.Module:
        from ptm.nn.positions import SinusoidalPositions

        return SinusoidalPositions(width, order=config.sinusoidal_order)
