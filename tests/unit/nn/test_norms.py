"""LayerNorm and RMSNorm."""

from __future__ import annotations

import pytest
import torch

from ptm.model.initial_weights import norm_parameters
from ptm.nn.layers import build_norm
from ptm.nn.model_shape import ModelShape, NormKind


def shape(kind: NormKind, *, epsilon: float, bias: bool) -> ModelShape:
    return ModelShape(
        vocabulary_size=1,
        embedding_size=8,
        hidden_size=8,
        positions=1,
        dropout=0.0,
        attention_dropout=0.0,
        activation="gelu",
        norm_epsilon=epsilon,
        norm=kind,
        bias=bias,
    )


def test_rms_norm_does_not_subtract_the_mean() -> None:
    hidden = torch.randn(3, 8) + 2.0
    expected = hidden / (hidden.square().mean(dim=-1, keepdim=True) + 1e-3).sqrt()
    found = build_norm(shape("rms", epsilon=1e-3, bias=True), 8)(hidden)
    torch.testing.assert_close(found, expected)
    centred = build_norm(shape("layer", epsilon=1e-3, bias=True), 8)(hidden)
    assert centred.mean().abs() < 1e-5 < found.mean()


@pytest.mark.parametrize(
    ("kind", "bias", "names"),
    [("layer", True, ["weight", "bias"]), ("layer", False, ["weight"]), ("rms", True, ["weight"])],
)
def test_a_norm_has_a_weight_and_a_bias_only_if_supported(
    kind: NormKind, bias: bool, names: list[str]
) -> None:
    norm = build_norm(shape(kind, epsilon=1e-5, bias=bias), 8)
    assert [name for name, _ in norm.named_parameters()] == names
    assert list(norm_parameters(norm)) == names
    assert norm.get_parameter("weight").tolist() == [1.0] * 8
