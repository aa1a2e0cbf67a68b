"""Attention with dropout on the CPU: torch's attention but for the weights that are dropped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ptm.nn.attention import scaled_attention
from ptm.nn.attention_mask import same_example

ROWS, HEADS, TOKENS, SIZE = 4, 4, 24, 8
NEVER = 1e-9
"""A probability that is rounded to 0: the computation is that with dropout, but drops nothing."""
EXAMPLE_IDS = torch.tensor([1] * 10 + [2] * 9 + [0] * 5).expand(ROWS, -1)
MASKS: dict[str, dict[str, Any]] = {
    "none": {"mask": None},
    "causal": {"mask": None, "causal": True},
    "examples": {"mask": same_example(EXAMPLE_IDS, EXAMPLE_IDS)},
    "bias": {"mask": torch.linspace(-2, 2, HEADS * TOKENS**2).view(1, HEADS, TOKENS, TOKENS)},
}


def tensors(groups: int, dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(groups)
    return [
        torch.randn(ROWS, heads, TOKENS, SIZE, dtype=dtype, requires_grad=True)
        for heads in (HEADS, groups, groups)
    ]


def output_and_gradients(used: list[Tensor], *, dropout: float, **given: Any) -> list[Tensor]:
    bias = given["mask"]
    if bias is not None and bias.is_floating_point():
        given["mask"] = bias.to(used[0].dtype).requires_grad_()
        used = [*used, given["mask"]]
    output = scaled_attention(*used[:3], dropout=dropout, scale=0.3, **given)
    return [output, *torch.autograd.grad(output.square().sum(), used)]


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("groups", [HEADS, 2])
def test_without_a_dropped_weight_it_is_torchs(kind: str, groups: int) -> None:
    used = tensors(groups, torch.float64)
    ours = output_and_gradients(used, dropout=NEVER, **MASKS[kind])
    theirs = output_and_gradients(used, dropout=0.0, **MASKS[kind])
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", MASKS)
def test_in_bf16_it_is_torchs_within_the_rounding(kind: str) -> None:
    used = tensors(HEADS, torch.bfloat16)
    ours = output_and_gradients(used, dropout=NEVER, **MASKS[kind])
    theirs = output_and_gradients(used, dropout=0.0, **MASKS[kind])
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).abs().max() <= 0.03 * other.abs().max()


def test_dropped_weights_are_zero_and_the_others_scaled() -> None:
    query, key, _ = tensors(HEADS, torch.float32)
    # With these values the outputs are the weights.
    value = torch.eye(TOKENS).expand(ROWS, HEADS, TOKENS, TOKENS)
    kept = scaled_attention(query, key, value, None, dropout=0.0, scale=0.3)
    torch.manual_seed(0)
    weights = scaled_attention(query, key, value, None, dropout=0.25, scale=0.3)
    dropped = weights == 0
    assert 0.2 < dropped.float().mean() < 0.3
    assert torch.allclose(weights[~dropped], kept[~dropped] / 0.75, rtol=1e-5)
    torch.manual_seed(0)
    again = scaled_attention(query, key, value, None, dropout=0.25, scale=0.3)
    assert torch.equal(weights, again)
