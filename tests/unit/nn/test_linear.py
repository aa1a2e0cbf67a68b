"""The linear map of CPUs: equal to torch's, gradients included, whichever library computes it."""

from __future__ import annotations

import pytest
import torch
import torch.utils.checkpoint
from torch import Tensor
from torch.nn import functional as F

from ptm.nn import linear as module
from ptm.nn.linear import Linear, gradient_of_weight, linear, product

WIDE, NARROW = (96, 640), (640, 96)


@pytest.fixture(autouse=True)
def by_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN computes large fp32 products, on whatever processor the test runs."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this build of torch has no oneDNN")
    monkeypatch.setattr(module, "onednn_is_faster", lambda: True)


def calls_of(name: str, run: object) -> int:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        run()  # type: ignore[operator]
    return sum(event.count for event in found.key_averages() if event.key == name)


def close(ours: Tensor, theirs: Tensor) -> bool:
    return bool((ours - theirs).abs().max() <= 1e-5 * theirs.abs().max())


@pytest.mark.parametrize("sizes", [WIDE, NARROW])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_output_and_gradients_equal_torchs(
    sizes: tuple[int, int], biased: bool, transposed: bool
) -> None:
    torch.manual_seed(3)
    inputs, outputs = sizes
    x = torch.randn(4, 32, inputs)
    if transposed:
        x = torch.randn(32, 4, inputs).transpose(0, 1)
    x.requires_grad_()
    weight = torch.randn(outputs, inputs, requires_grad=True)
    bias = torch.randn(outputs, requires_grad=True) if biased else None
    used = [x, weight, *([] if bias is None else [bias])]
    seed = torch.randn(4, 32, outputs)
    ours, theirs = linear(x, weight, bias), F.linear(x, weight, bias)
    assert close(ours, theirs)
    for mine, other in zip(
        torch.autograd.grad(ours, used, seed), torch.autograd.grad(theirs, used, seed), strict=True
    ):
        assert close(mine, other)
        assert mine.is_contiguous()


def test_frozen_weights_and_inputs_get_no_gradient() -> None:
    layer = Linear(96, 640)
    layer.weight.requires_grad_(False)
    x = torch.randn(64, 96)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad is not None
    assert x.grad is None


def test_products_equal_torchs() -> None:
    left, right = torch.randn(128, 96), torch.randn(96, 640)
    assert close(product(left, right), left @ right)
    assert close(gradient_of_weight(left, left[:, :40]), left.t() @ left[:, :40])
    assert close(gradient_of_weight(left[:, :40], left), left[:, :40].t() @ left)


def test_onednn_computes_large_fp32_products_only() -> None:
    large, small = Linear(96, 640), Linear(16, 16)
    name = "mkldnn::_linear_pointwise"
    assert calls_of(name, lambda: large(torch.randn(64, 96))) == 1
    assert calls_of(name, lambda: large(torch.randn(64, 96)).sum().backward()) == 2
    assert calls_of(name, lambda: small(torch.randn(64, 16))) == 0
    assert calls_of(name, lambda: large.bfloat16()(torch.randn(64, 96).bfloat16())) == 0
    assert large(torch.randn(0, 96).bfloat16()).shape == (0, 640)


def test_onednn_is_not_used_if_torch_may_not_use_it() -> None:
    layer = Linear(96, 640)
    with torch.backends.mkldnn.flags(enabled=False):
        used = calls_of("mkldnn::_linear_pointwise", lambda: layer(torch.randn(64, 96)))
    assert used == 0


def test_a_recomputed_layer_has_the_same_gradients() -> None:
    layer, x = Linear(96, 640), torch.randn(64, 96)
    layer(x).square().sum().backward()
    plain = layer.weight.grad
    layer.zero_grad()
    torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False).square().sum().backward()
    again = layer.weight.grad
    assert isinstance(plain, Tensor)
    assert isinstance(again, Tensor)
    assert torch.equal(plain, again)
