"""Dropout that is not a CPU's bottleneck."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Module):
    """Zeroes elements with probability `p` and scales the others by 1 / (1 - p), in training.

    torch draws one random number an element on the CPU, which costs more than the GELU beside it;
    here 64 random bits serve four elements, so `p` is rounded to the nearest 1/65536. Elsewhere it
    is torch's own.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, hidden: Tensor) -> Tensor:
        """Any shape in, the same shape out."""
        if not self.training or self.p == 0.0:
            return hidden
        if hidden.device.type != "cpu":
            return F.dropout(hidden, self.p, training=True)
        count = hidden.numel()
        draws = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        bits = draws.view(torch.int16)[:count].view(hidden.shape)
        dropped = round(self.p * 65536)
        if dropped >= 65536:
            return hidden * 0.0
        kept = (bits >= dropped - 32768).to(hidden.dtype)
        return hidden * kept.mul_(65536 / (65536 - dropped))

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"p={self.p}"
