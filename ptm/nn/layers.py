"""Norms, dropout and activations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ptm.nn.model_shape import ModelShape

FEW = 4096
"""Elements up to which, on a CPU, one call of torch is faster than several simpler ones."""


def build_norm(shape: ModelShape, width: int) -> nn.Module:
    """Build a norm of the model's kind over the last axis (…, width).

    `layer` is LayerNorm (Ba et al. 2016), with a weight and, if the model has biases, a bias; `rms`
    is RMSNorm (Zhang and Sennrich 2019), with a weight only.
    """
    if shape.norm == "rms":
        return nn.RMSNorm(width, eps=shape.norm_epsilon)
    return nn.LayerNorm(width, eps=shape.norm_epsilon, bias=shape.bias)


class Dropout(nn.Module):
    """In training, zeroes elements with probability `p` and scales the rest by 1 / (1 - p)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, hidden: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return dropout(hidden, self.p) if self.training else hidden

    def extra_repr(self) -> str:
        return f"p={self.p}"


def dropout(hidden: Tensor, p: float) -> Tensor:
    """Zero elements of a tensor of any shape with probability `p`, scale the rest by 1 / (1 - p).

    On the CPU, torch draws one random number per element, which costs more than a GELU. This
    function uses 64 random bits for four elements, so `p` is rounded to the nearest 1/65536. On
    other devices, and for few elements, it uses torch's dropout.
    """
    if p == 0.0:
        return hidden
    count = hidden.numel()
    if hidden.device.type != "cpu" or count <= FEW:
        return F.dropout(hidden, p, training=True)
    # 16 random bits per element, as an integer from -32768 to 32767.
    draws = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bits = draws.view(torch.int16)[:count].view(hidden.shape)
    dropped = round(p * 65536)
    if dropped >= 65536:
        return hidden * 0.0
    kept = (bits >= dropped - 32768).view(torch.uint8)
    scaled: Tensor = _Kept.apply(  # type: ignore[no-untyped-call]
        hidden, kept, 65536 / (65536 - dropped)
    )
    return scaled


class _Kept(torch.autograd.Function):
    """The product with a mask of zeros and ones and a factor; keeps one byte per element."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, kept: Tensor, factor: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.factor = factor
        return (hidden * kept).mul_(factor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (kept,) = ctx.saved_tensors
        return (gradient * kept).mul_(ctx.factor), None, None


def activate(name: str, hidden: Tensor) -> Tensor:
    """Apply the activation function `name`: `gelu` is exact, `gelu_tanh` GPT-2's approximation."""
    if name == "gelu":
        return F.gelu(hidden)
    if name == "gelu_tanh":
        return F.gelu(hidden, approximate="tanh")
    if name == "relu":
        return F.relu(hidden)
    if name == "silu":
        return F.silu(hidden)
    assert name == "tanh", f"unknown activation {name!r}"
    return hidden.tanh()
