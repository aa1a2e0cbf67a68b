"""The initial value of a parameter depends only on the seed, its name and its shape."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ptm.model.initial_weights import initial_value, norm_parameters


def drawn(name: str = "encoder_00.x.weight", *, seed: int = 7, is_norm: bool = False) -> Tensor:
    return initial_value(name, (300, 400), seed=seed, is_norm=is_norm, std=0.02)


def test_the_same_name_and_seed_give_the_same_value_independent_of_earlier_draws() -> None:
    first = drawn()
    torch.manual_seed(123)
    torch.randn(10)
    assert torch.equal(drawn(), first)


def test_the_global_generator_of_torch_is_not_used() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    drawn()
    assert torch.equal(torch.get_rng_state(), state)


def test_another_name_or_seed_gives_an_unrelated_value() -> None:
    for other in (drawn("encoder_01.x.weight"), drawn(seed=8)):
        both = torch.stack([drawn().flatten(), other.flatten()])
        assert abs(float(torch.corrcoef(both)[0, 1])) < 5 / both.shape[1] ** 0.5


@pytest.mark.parametrize("std", [0.02, 0.1])
def test_values_are_normal_with_the_given_deviation(std: float) -> None:
    value = initial_value("a.weight", (300, 400), seed=0, is_norm=False, std=std)
    count = value.numel()
    assert float(value.std()) == pytest.approx(std, rel=5 / (2 * count) ** 0.5)
    assert float(value.mean()) == pytest.approx(0.0, abs=5 * std / count**0.5)
    within = (value.abs() < std).double().mean()
    assert float(within) == pytest.approx(0.6827, abs=0.01)
    assert float(value.abs().max()) > 3.5 * std, "the distribution is truncated"


def test_norm_weights_are_initialised_to_one_and_biases_to_zero() -> None:
    assert torch.equal(drawn("a.norm.weight", is_norm=True), torch.ones(300, 400))
    assert torch.equal(drawn("a.norm.bias", is_norm=True), torch.zeros(300, 400))
    assert torch.equal(drawn("a.up.bias"), torch.zeros(300, 400))


def test_residual_outputs_are_scaled_down_by_the_root_of_the_number_of_branches() -> None:
    plain = drawn("encoder_00.feed_forward.down.weight")
    scaled = initial_value(
        "encoder_00.feed_forward.down.weight",
        (300, 400),
        seed=7,
        is_norm=False,
        std=0.02,
        residual_outputs=("feed_forward.down.weight",),
        residual_branches=16,
    )
    torch.testing.assert_close(scaled, plain / 4, rtol=1e-5, atol=1e-9)


def test_norm_parameters_are_found_at_any_depth() -> None:
    model = nn.ModuleDict(
        {"a": nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), "b": nn.RMSNorm(2)}
    )
    assert set(norm_parameters(model)) == {"a.1.weight", "a.1.bias", "b.weight"}
    assert set(norm_parameters(nn.LayerNorm(2))) == {"weight", "bias"}
