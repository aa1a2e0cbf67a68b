"""Feed-forward layers: the activation is applied to the gate, which multiplies the other half."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ptm.nn.transformer_layer import FeedForward, GatedFeedForward


@pytest.mark.parametrize("bias", [True, False])
def test_the_first_half_is_the_gate(bias: bool) -> None:
    torch.manual_seed(0)
    layer, hidden = GatedFeedForward(4, 6, activation="silu", bias=bias), torch.randn(3, 4)
    gate, up = (F.linear(hidden, *part) for part in halves(layer))
    expected = layer.down(F.silu(gate) * up)
    torch.testing.assert_close(layer(hidden), expected)
    assert (layer.down.bias is not None) is bias


def halves(layer: GatedFeedForward) -> list[tuple[torch.Tensor, ...]]:
    matrix = layer.gate_up
    whole = [matrix.weight] if matrix.bias is None else [matrix.weight, matrix.bias]
    return [tuple(part[rows] for part in whole) for rows in (slice(0, 6), slice(6, 12))]


def test_a_closed_gate_gives_zeros() -> None:
    layer = GatedFeedForward(4, 6, activation="relu", bias=False)
    with torch.no_grad():
        layer.gate_up.weight[:6] = -layer.gate_up.weight[:6].abs()
    assert not layer(torch.rand(5, 4)).any()


def test_a_dense_layer_may_have_no_biases() -> None:
    layer = FeedForward(4, 6, activation="gelu", bias=False)
    assert not layer(torch.zeros(1, 4)).any()
    assert [name for name, _ in layer.named_parameters()] == ["up.weight", "down.weight"]
