"""Norms, dropout and activations: what every layer is made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptm.nn.model_shape import ModelShape


def build_norm(shape: ModelShape, width: int) -> nn.Module:
    """The model's kind of norm over the last axis (…, width).

    `layer`: over mean and deviation (Ba et al. 2016), with a weight and perhaps a bias; `rms`: over
    the root mean square alone (Zhang and Sennrich 2019).
    """
    if shape.norm_kind == "rms":
        return nn.RMSNorm(width, eps=shape.norm_epsilon)
    return nn.LayerNorm(width, eps=shape.norm_epsilon, bias=shape.bias)


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


def activate(name: str, hidden: Tensor) -> Tensor:
    """Apply the activation `name`. `gelu` is exact, `gelu_tanh` is GPT-2's approximation."""
    if name == "gelu":
        return F.gelu(hidden)
    if name == "gelu_tanh":
        return F.gelu(hidden, approximate="tanh")
    if name == "relu":
        return F.relu(hidden)
    if name == "silu":
        return F.silu(hidden)
    assert name == "tanh", f"no activation {name!r}"
    return hidden.tanh()
