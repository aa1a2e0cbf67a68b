"""Sinusoidal positions (Vaswani et al. 2017, section 3.5), computed, not learnt."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ptm.embeddings.contract import EmbeddingConfig, EmbeddingPart


class SinusoidalPositions(nn.Module):
    """Sines in the first half of the width, cosines in the second, as in tensor2tensor."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, position_ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, E)."""
        half = self.width // 2
        exponents = torch.arange(half, device=position_ids.device) * (-math.log(10000.0) / half)
        angles = position_ids[..., None].float() * exponents.exp()
        waves = torch.cat((angles.sin(), angles.cos()), dim=-1)
        return nn.functional.pad(waves, (0, self.width - 2 * half))


class Sinusoidal(EmbeddingPart):
    """Positions without a table, hence without a longest sequence."""

    name = "sinusoidal"
    reads = "position_ids"

    @classmethod
    def build(cls, config: EmbeddingConfig, width: int) -> nn.Module:
        """No parameters."""
        return SinusoidalPositions(width)
