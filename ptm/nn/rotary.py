"""Rotary positions (Su et al. 2021, "RoFormer"), pairing the two halves of a head as GPT-NeoX."""

from __future__ import annotations

import torch
from torch import Tensor

# B rows, H heads, T tokens a row, S size of a head.


def rotate(heads: Tensor, position_ids: Tensor, *, theta: float) -> Tensor:
    """Turn each pair (i, i + S/2) of (B, H, T, S) by position (B, T) x theta ** (-2i / S).

    In fp32, whatever the type of `heads`: half precision has no room for late positions.
    """
    size = heads.shape[-1]
    exponents = torch.arange(0, size, 2, dtype=torch.float32, device=heads.device) / size
    angles = (position_ids[..., None].float() * (1.0 / theta**exponents))[:, None]
    cosines, sines = angles.cos(), angles.sin()
    first, second = heads.float().chunk(2, dim=-1)
    turned = (first * cosines - second * sines, second * cosines + first * sines)
    return torch.cat(turned, dim=-1).to(heads.dtype)
