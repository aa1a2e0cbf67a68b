"""First weights as functions of (seed, canonical name): no engine, stage or build order matters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from ptm.rng import seed_of

_NORMS = (nn.LayerNorm, nn.RMSNorm)


def norm_parameters(module: nn.Module) -> Iterator[str]:
    """Names of the parameters of `module` that belong to norms."""
    for name, inner in module.named_modules():
        if isinstance(inner, _NORMS):
            for parameter, _ in inner.named_parameters(recurse=False):
                yield f"{name}.{parameter}" if name else parameter


def first_value(
    name: str,
    shape: Iterable[int],
    *,
    seed: int,
    is_norm: bool,
    std: float,
    residual_outputs: tuple[str, ...] = (),
    residual_branches: int = 1,
) -> Tensor:
    """The fp32 tensor that parameter `name` begins with.

    Norm weights 1, biases 0, everything else N(0, std); names that end in one of
    `residual_outputs` N(0, std / sqrt(residual_branches)) (Radford et al. 2019, section 2.3).
    """
    shape = tuple(shape)
    if name.endswith("bias"):
        return torch.zeros(shape)
    if is_norm:
        return torch.ones(shape)
    if name.endswith(residual_outputs):
        std /= math.sqrt(residual_branches)
    generator = torch.Generator().manual_seed(seed_of(seed, "init", name))
    return torch.empty(shape).normal_(0.0, std, generator=generator)
