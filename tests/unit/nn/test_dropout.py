"""Dropout zeroes a share, keeps the mean, and repeats under a seed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ptm.nn.layers import Dropout

COUNT = 400_000
RATES = [0.01, 0.1, 0.3, 0.5, 0.9]


def dropped(p: float, hidden: Tensor, *, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    out: Tensor = Dropout(p).train()(hidden)
    return out


@pytest.mark.parametrize("p", RATES)
def test_the_share_of_zeroes_is_p(p: float) -> None:
    zeroes = (dropped(p, torch.ones(COUNT)) == 0).double().mean()
    # Five standard deviations of a binomial share.
    assert float(zeroes) == pytest.approx(p, abs=5 * (p * (1 - p) / COUNT) ** 0.5 + 2**-17)


@pytest.mark.parametrize("p", RATES)
def test_kept_elements_are_scaled_so_that_the_mean_is_unchanged(p: float) -> None:
    out = dropped(p, torch.full((COUNT,), 3.0))
    kept = out[out != 0]
    # p is rounded to the nearest 1/65536.
    torch.testing.assert_close(kept, torch.full_like(kept, 3.0 / (1 - p)), rtol=2e-4, atol=0)
    assert float(out.mean()) == pytest.approx(3.0, abs=15 * (p / (1 - p) / COUNT) ** 0.5)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_the_four_elements_of_a_draw_are_dropped_equally_often_and_independently(p: float) -> None:
    zero = (dropped(p, torch.ones(COUNT)) == 0).double().view(-1, 4)
    shares = zero.mean(dim=0)
    assert float((shares - p).abs().max()) < 5 * (p * (1 - p) / len(zero)) ** 0.5
    correlations = torch.corrcoef(zero.T) - torch.eye(4)
    assert float(correlations.abs().max()) < 5 / len(zero) ** 0.5


def test_no_two_rows_have_the_same_mask() -> None:
    zero = dropped(0.5, torch.ones(200, 100)) == 0
    assert len(torch.unique(zero, dim=0)) == 200


def test_the_same_seed_gives_the_same_mask_and_another_seed_another() -> None:
    hidden = torch.randn(64, 33)
    assert torch.equal(dropped(0.2, hidden, seed=5), dropped(0.2, hidden, seed=5))
    assert not torch.equal(dropped(0.2, hidden, seed=5), dropped(0.2, hidden, seed=6))


def test_two_calls_in_a_row_differ() -> None:
    layer, hidden = Dropout(0.3).train(), torch.ones(1000)
    torch.manual_seed(0)
    assert not torch.equal(layer(hidden), layer(hidden))


def test_evaluation_mode_drops_nothing() -> None:
    hidden = torch.randn(7, 5)
    assert torch.equal(Dropout(0.9).eval()(hidden), hidden)


def test_rate_zero_drops_nothing_and_draws_no_random_numbers() -> None:
    hidden = torch.randn(7, 5)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert torch.equal(Dropout(0.0).train()(hidden), hidden)
    assert torch.equal(torch.get_rng_state(), state)


def test_rate_one_drops_everything() -> None:
    assert not dropped(1.0, torch.randn(100)).any()


@pytest.mark.parametrize("shape", [(), (1,), (3,), (5, 7), (2, 3, 11), (0, 4)])
def test_the_shape_is_preserved(shape: tuple[int, ...]) -> None:
    hidden = torch.ones(shape)
    out = dropped(0.5, hidden)
    assert out.shape == hidden.shape
    assert torch.isin(out, torch.tensor([0.0, 2.0])).all()


def test_non_contiguous_tensors_are_supported() -> None:
    hidden = torch.arange(1.0, 41.0).view(4, 10).T
    out = dropped(0.5, hidden)
    kept = out != 0
    assert 0 < int(kept.sum()) < hidden.numel()
    assert torch.equal(out[kept], 2 * hidden[kept])
    assert torch.equal(hidden, torch.arange(1.0, 41.0).view(4, 10).T), "the input is not written to"


def test_the_gradient_has_the_mask_of_the_value() -> None:
    hidden = torch.randn(1000, requires_grad=True)
    out = dropped(0.25, hidden)
    out.sum().backward()
    assert hidden.grad is not None
    torch.testing.assert_close(hidden.grad * hidden.detach(), out.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_dtype_of_the_input_is_preserved(dtype: torch.dtype) -> None:
    assert dropped(0.1, torch.ones(100, dtype=dtype)).dtype == dtype
