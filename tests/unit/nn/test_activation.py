"""Activation functions follow their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ptm.nn.layers import activate
from ptm.nn.model_shape import ACTIVATIONS

X = torch.linspace(-6, 6, 2401, dtype=torch.float64)

REFERENCES = {
    "gelu": X * 0.5 * (1 + torch.erf(X / math.sqrt(2))),
    "gelu_tanh": 0.5 * X * (1 + torch.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3))),
    "relu": torch.where(X > 0, X, 0.0),
    "silu": X / (1 + torch.exp(-X)),
    "tanh": (torch.exp(2 * X) - 1) / (torch.exp(2 * X) + 1),
}


@pytest.mark.parametrize(("name", "reference"), REFERENCES.items(), ids=REFERENCES.keys())
def test_every_activation_follows_its_formula(name: str, reference: Tensor) -> None:
    torch.testing.assert_close(activate(name, X), reference, rtol=1e-12, atol=1e-14)


def test_every_activation_is_tested() -> None:
    assert set(ACTIVATIONS) == set(REFERENCES)


def test_the_two_gelus_are_different() -> None:
    apart = (activate("gelu", X) - activate("gelu_tanh", X)).abs().max()
    assert 1e-4 < float(apart) < 1e-3


def test_an_unknown_name_is_an_assertion_error() -> None:
    with pytest.raises(AssertionError, match="swish"):
        activate("swish", X)
