"""Norms: over mean and deviation (Ba et al. 2016), or over the root mean square alone."""

from __future__ import annotations

from typing import Literal

from torch import nn

NormKind = Literal["layer", "rms"]
"""`rms`: Zhang and Sennrich 2019, as T5 and LLaMA have it; it never has a bias."""


def build_norm(kind: NormKind, width: int, *, epsilon: float, bias: bool) -> nn.Module:
    """A norm over the last axis (…, width), with a weight, and a bias where `layer` has one."""
    if kind == "rms":
        return nn.RMSNorm(width, eps=epsilon)
    return nn.LayerNorm(width, eps=epsilon, bias=bias)
