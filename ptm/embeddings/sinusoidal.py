"""Sinusoidal positions (Vaswani et al. 2017, section 3.5), computed, not learnt."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ptm.embeddings.contract import EmbeddingConfig, EmbeddingPart


class SinusoidalPositions(nn.Module):
    """A sine and a cosine of every wavelength: first all sines, or by turns."""

    def __init__(self, width: int, *, interleaved: bool) -> None:
        super().__init__()
        self.width = width
        self.interleaved = interleaved

    def forward(self, position_ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, E)."""
        half = self.width // 2
        exponents = torch.arange(half, device=position_ids.device) * (-math.log(10000.0) / half)
        angles = position_ids[..., None].float() * exponents.exp()
        both = (angles.sin(), angles.cos())
        waves = torch.stack(both, dim=-1).flatten(-2) if self.interleaved else torch.cat(both, -1)
        return nn.functional.pad(waves, (0, self.width - 2 * half))


class Sinusoidal(EmbeddingPart):
    """Positions without a table, hence without a longest sequence."""

    name = "sinusoidal"
    reads = "position_ids"

    @classmethod
    def build(cls, config: EmbeddingConfig, width: int) -> nn.Module:
        """No parameters."""
        return SinusoidalPositions(width, interleaved=config.sinusoidal_order == "interleaved")
