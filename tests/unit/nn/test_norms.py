"""Norms over mean and deviation, and over the root mean square alone."""

from __future__ import annotations

import pytest
import torch

from ptm.model.initial_weights import norm_parameters
from ptm.nn.norm import build_norm


def test_the_root_mean_square_takes_no_mean_away() -> None:
    hidden = torch.randn(3, 8) + 2.0
    expected = hidden / (hidden.square().mean(dim=-1, keepdim=True) + 1e-3).sqrt()
    found = build_norm("rms", 8, epsilon=1e-3, bias=True)(hidden)
    torch.testing.assert_close(found, expected)
    centred = build_norm("layer", 8, epsilon=1e-3, bias=True)(hidden)
    assert centred.mean().abs() < 1e-5 < found.mean()


@pytest.mark.parametrize(
    ("kind", "bias", "names"),
    [("layer", True, ["weight", "bias"]), ("layer", False, ["weight"]), ("rms", True, ["weight"])],
)
def test_a_norm_has_a_weight_and_perhaps_a_bias(kind: str, bias: bool, names: list[str]) -> None:
    norm = build_norm(kind, 8, epsilon=1e-5, bias=bias)  # type: ignore[arg-type]
    assert [name for name, _ in norm.named_parameters()] == names
    assert list(norm_parameters(norm)) == names
    assert norm.get_parameter("weight").tolist() == [1.0] * 8
