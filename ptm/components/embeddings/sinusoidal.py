"""Sinusoidal positions (Vaswani et al. 2017, section 3.5), computed, not learnt."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ptm.components.embeddings.base import EmbeddingConfig, EmbeddingPart, SinusoidalOrder

_UER_FIRST = 2
"""The place from which UER-py counts."""


class SinusoidalPositions(nn.Module):
    """A sine and a cosine of every wavelength, in the order that `model.embedding` names."""

    def __init__(self, width: int, *, order: SinusoidalOrder = "halves") -> None:
        super().__init__()
        self.width = width
        self.order = order

    def forward(self, position_ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, E)."""
        half = self.width // 2
        first, steps = (_UER_FIRST, half - 1) if self.order == "uer" else (0, half)
        exponents = torch.arange(half, device=position_ids.device).double() / max(1, steps)
        turns = (position_ids[..., None] + first).double() * 10000.0**-exponents
        # In fp32 the angle of a position in the hundreds would be wrong in its fifth digit.
        angles = turns.remainder(2 * math.pi).float()
        both = (angles.sin(), angles.cos())
        waves = torch.cat(both, -1) if self.order == "halves" else torch.stack(both, -1).flatten(-2)
        return nn.functional.pad(waves, (0, self.width - 2 * half))


class Sinusoidal(EmbeddingPart):
    """Positions without a table, hence without a longest sequence."""

    name = "sinusoidal"
    reads = "position_ids"

    @classmethod
    def build(cls, config: EmbeddingConfig, width: int) -> nn.Module:
        """No parameters."""
        return SinusoidalPositions(width, order=config.sinusoidal_order)
