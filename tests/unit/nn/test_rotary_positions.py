"""Rotary positions: scores depend on the distance between two tokens, not on their positions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ptm.nn.attention import SelfAttention
from ptm.nn.attention_mask import AttentionPattern
from ptm.nn.model_shape import HeadShape
from ptm.nn.positions import apply_rotary

SIZE, THETA = 8, 50.0


def by_complex_numbers(heads: Tensor, position_ids: Tensor) -> Tensor:
    """The paper's equation 34, with pairs from the two halves."""
    half = SIZE // 2
    pairs = torch.complex(heads[..., :half], heads[..., half:])
    wavelengths = torch.tensor([THETA ** (-2 * i / SIZE) for i in range(half)], dtype=heads.dtype)
    angles = position_ids[:, None, :, None] * wavelengths
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((turned.real, turned.imag), dim=-1)


def test_rotation_equals_multiplication_of_complex_numbers() -> None:
    torch.manual_seed(0)
    heads, places = torch.randn(2, 3, 5, SIZE), torch.randint(0, 40, (2, 5))
    found = apply_rotary(heads, places, theta=THETA)
    expected = by_complex_numbers(heads.double(), places)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_rotation_preserves_norms_and_position_0() -> None:
    heads = torch.randn(1, 1, 4, SIZE)
    assert torch.equal(apply_rotary(heads, torch.zeros(1, 4), theta=THETA), heads)
    turned = apply_rotary(heads, torch.arange(4)[None], theta=THETA)
    torch.testing.assert_close(turned.norm(dim=-1), heads.norm(dim=-1))


@pytest.fixture
def layer() -> SelfAttention:
    torch.manual_seed(0)
    layer = SelfAttention(
        HeadShape(16, 2, 2, 8), dropout=0.0, pattern=AttentionPattern(), theta=THETA
    ).eval()
    torch.nn.init.normal_(layer.qkv.weight)
    return layer


def test_shifting_all_positions_changes_nothing(layer: SelfAttention) -> None:
    hidden, ones = torch.randn(1, 6, 16), torch.ones(1, 6, dtype=torch.int64)
    places = torch.arange(6)[None]
    there = layer(hidden, ones, position_ids=places + 9)
    torch.testing.assert_close(
        there, layer(hidden, ones, position_ids=places), rtol=1e-4, atol=1e-5
    )
    assert not torch.allclose(layer(hidden, ones, position_ids=2 * places), there, atol=1e-2)


def test_half_precision_is_rotated_in_fp32() -> None:
    heads, places = torch.randn(1, 1, 4, SIZE), 1000 + torch.arange(4)[None]
    found = apply_rotary(heads.bfloat16(), places, theta=THETA)
    assert found.dtype == torch.bfloat16
    exact = apply_rotary(heads.bfloat16().float(), places, theta=THETA)
    torch.testing.assert_close(found, exact.bfloat16(), rtol=0, atol=0)
