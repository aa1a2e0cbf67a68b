"""Linear layers whose weight is gathered for a forward or backward pass only (ZeRO 3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

torch_linear = nn.functional.linear
"""torch's own function, whatever `torch.nn.functional.linear` is replaced by."""


def gathered_linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As `torch.nn.functional.linear`, with the same results and gradients.

    For the backward pass, torch keeps the transposed weight, a view that holds the gathered weight
    in memory until then. This function keeps the parameter itself, whose memory ZeRO 3 frees after
    the forward pass and fills again before the backward pass.
    """
    if not torch.is_grad_enabled():
        return torch_linear(input, weight, bias)
    output: Tensor = _GatheredLinear.apply(input, weight, bias)  # type: ignore[no-untyped-call]
    return output


class _GatheredLinear(torch.autograd.Function):
    """input (..., I), weight (O, I), bias (O) -> (..., O)."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        return torch_linear(input, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        (gradient,) = gradients
        of_input = of_weight = of_bias = None
        rows = gradient.reshape(-1, gradient.shape[-1])
        if ctx.needs_input_grad[0]:
            of_input = rows.mm(weight).view(input.shape)
        if ctx.needs_input_grad[1]:
            of_weight = rows.t().mm(input.reshape(-1, input.shape[-1]))
        if ctx.needs_input_grad[2]:
            of_bias = rows.sum(dim=0)
        return of_input, of_weight, of_bias
