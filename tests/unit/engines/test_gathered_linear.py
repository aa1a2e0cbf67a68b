"""The linear layers of ZeRO 3."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ptm.engines.gathered_linear import gathered_linear


def _gradients(
    function: object, shape: tuple[int, ...], dtype: torch.dtype, *, bias: bool, frozen: bool
) -> list[Tensor | None]:
    torch.manual_seed(5)
    input = torch.randn(*shape, 24, dtype=dtype, requires_grad=True)
    layer = nn.Linear(24, 40, bias=bias).to(dtype)
    layer.weight.requires_grad = not frozen
    weights = torch.randn(40, dtype=dtype)
    assert callable(function)
    output = function(input, layer.weight, layer.bias)
    (output * weights).sum().backward()
    gradients = [None if p.grad is None else p.grad for p in layer.parameters()]
    return [output.detach(), input.grad, *gradients]


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_results_and_gradients_are_those_of_torch(
    shape: tuple[int, ...], dtype: torch.dtype, bias: bool, frozen: bool
) -> None:
    ours = _gradients(gathered_linear, shape, dtype, bias=bias, frozen=frozen)
    torchs = _gradients(nn.functional.linear, shape, dtype, bias=bias, frozen=frozen)
    assert len(ours) == len(torchs)
    for one, other in zip(ours, torchs, strict=True):
        assert (one is None) == (other is None)
        assert one is None or other is None or torch.equal(one, other)


def test_the_backward_pass_reads_the_weight_that_is_gathered_then() -> None:
    weight = nn.Parameter(torch.randn(4, 3))
    whole = weight.detach().clone()
    input = torch.randn(2, 3, requires_grad=True)
    output = gathered_linear(input, weight)
    # As ZeRO 3 does: the forward pass is over, and the next gather has another memory.
    weight.data = torch.empty(0)
    weight.data = 2 * whole
    output.sum().backward()
    assert input.grad is not None
    torch.testing.assert_close(input.grad, torch.ones(2, 4) @ (2 * whole))


def test_without_gradients_nothing_is_kept() -> None:
    weight = nn.Parameter(torch.randn(4, 3))
    with torch.no_grad():
        assert not gathered_linear(torch.randn(2, 3), weight).requires_grad
