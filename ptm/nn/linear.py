"""The linear map y = x W^T + b, in fp32 on CPUs by the faster of torch's two libraries.

torch computes fp32 products with MKL, which uses AVX2 on processors that are not Intel's, even if
they have AVX-512. oneDNN, which is part of torch too, uses AVX-512 on them and is twice as fast.

M rows, K inputs, N outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_SMALLEST = 2**20
"""Multiplications of the smallest product by oneDNN: a call takes some microseconds longer."""


class Linear(nn.Linear):
    """torch's linear layer, computed by `linear`.

    `parts`: name and outputs of each of the maps that the matrix holds one after the other; empty
    if it is one map.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        parts: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self.parts: Mapping[str, int] = parts or {}

    def forward(self, input: Tensor) -> Tensor:
        """(…, K) -> (…, N)."""
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """F.linear: x (…, K), weight (N, K), bias (N) -> (…, N)."""
    if by_onednn(x, x.numel() * weight.shape[0]) and weight.dtype == torch.float32:
        mapped: Tensor = _OneDnnLinear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return mapped
    return F.linear(x, weight, bias)


def product(left: Tensor, right: Tensor) -> Tensor:
    """The matrix product (M, K), (K, N) -> (M, N), without a gradient."""
    if by_onednn(left, left.numel() * right.shape[1]) and right.dtype == torch.float32:
        return _onednn_linear(left, right.t())
    return left @ right


class _OneDnnLinear(torch.autograd.Function):
    """The linear map and its gradients by oneDNN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # Of a frozen weight no gradient is computed, so that its input is not needed.
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        ctx.shape = x.shape
        return _onednn_linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows = gradient.reshape(-1, weight.shape[0])
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _onednn_linear(rows, weight.t()).view(ctx.shape)
        if ctx.needs_input_grad[1]:
            of_weight = gradient_of_weight(rows, x.reshape(-1, weight.shape[1]))
        if ctx.needs_input_grad[2]:
            of_bias = rows.sum(dim=0)
        return of_x, of_weight, of_bias


def gradient_of_weight(gradient: Tensor, x: Tensor) -> Tensor:
    """The gradient of the outputs (M, N) and the inputs (M, K) -> that of the weight (N, K)."""
    if gradient.shape[1] <= x.shape[1]:
        return product(gradient.t(), x)
    # oneDNN is faster if the product is wide.
    return product(x.t(), gradient).t().contiguous()


def by_onednn(x: Tensor, multiplications: int) -> bool:
    """Whether oneDNN computes a product of `x` with so many multiplications."""
    return (
        x.dtype == torch.float32
        and multiplications >= _SMALLEST
        and x.device.type == "cpu"
        and onednn_is_faster()
        and bool(torch.backends.mkldnn.enabled)
    )


def _onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    mapped: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return mapped


@cache
def onednn_is_faster() -> bool:
    """Whether this processor has AVX-512, but MKL does not use it."""
    libraries: tuple[Any, ...] = (torch.backends.mkl, torch.backends.mkldnn)
    return (
        all(library.is_available() for library in libraries)
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and "GenuineIntel" not in _processor()
    )


def _processor() -> str:
    """What Linux says of the processors; empty if it says nothing."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
