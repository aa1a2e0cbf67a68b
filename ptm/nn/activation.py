"""Activations by the names that papers and transformers use."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional as F

Activation = Literal["gelu", "gelu_tanh", "relu", "silu", "tanh"]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)


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
