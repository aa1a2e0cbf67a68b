"""The chunked loss and its gradients equal F.cross_entropy on all logits."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ptm.nn.vocabulary_loss import VocabularySums, vocabulary_sums

POSITIONS, WIDTH, VOCABULARY = 11, 6, 13
THREE_CHUNKS = 4 * VOCABULARY + 5
"""Chunks of 4, 4 and 3 positions."""


@dataclass(frozen=True)
class Case:
    """Inputs that require gradients; some positions are ignored."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor
    targets: Tensor
    weights: Tensor

    @classmethod
    def drawn(cls, dtype: torch.dtype = torch.float64, positions: int = POSITIONS) -> Case:
        torch.manual_seed(5)
        sizes = [(positions, WIDTH), (VOCABULARY, WIDTH), (VOCABULARY,)]
        drawn = (2 * torch.randn(size, dtype=torch.float64) for size in sizes)
        hidden, weight, bias = (values.to(dtype).requires_grad_() for values in drawn)
        targets = torch.randint(0, VOCABULARY, (positions,))
        targets[::2] = (hidden @ weight.T + bias).argmax(dim=-1)[::2]
        weights = torch.ones(positions, dtype=torch.int64)
        weights[3:5] = 0
        return cls(hidden, weight, bias, targets, weights)

    def in_double(self) -> Case:
        floats = (self.hidden, self.weight, self.bias)
        hidden, weight, bias = (values.detach().double().requires_grad_() for values in floats)
        return Case(hidden, weight, bias, self.targets, self.weights)

    def sums(
        self, *, smoothing: float = 0.0, bias: bool = True, chunk_elements: int = THREE_CHUNKS
    ) -> VocabularySums:
        return vocabulary_sums(
            self.hidden,
            self.weight,
            self.targets,
            self.weights,
            bias=self.bias if bias else None,
            smoothing=smoothing,
            chunk_elements=chunk_elements,
        )

    def plain(self, *, smoothing: float = 0.0, bias: bool = True) -> Tensor:
        logits = F.linear(self.hidden, self.weight, self.bias if bias else None)
        wide = torch.promote_types(logits.dtype, torch.float32)
        return F.cross_entropy(
            logits.to(wide),
            self.targets.masked_fill(self.weights == 0, -100),
            label_smoothing=smoothing,
            reduction="sum",
        )

    def gradients(self, loss: Tensor, *, bias: bool = True) -> tuple[Tensor, ...]:
        wanted = [self.hidden, self.weight, *([self.bias] if bias else [])]
        return torch.autograd.grad(loss, wanted)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["fp64", "fp32"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("chunk_elements", [1, THREE_CHUNKS, 2**23])
def test_loss_and_gradients_equal_those_from_all_logits(
    dtype: torch.dtype, smoothing: float, bias: bool, chunk_elements: int
) -> None:
    case = Case.drawn(dtype)
    found = case.sums(smoothing=smoothing, bias=bias, chunk_elements=chunk_elements)
    expected = case.plain(smoothing=smoothing, bias=bias)
    torch.testing.assert_close(found.loss, expected)
    torch.testing.assert_close(
        case.gradients(found.loss, bias=bias), case.gradients(expected, bias=bias)
    )


def test_likelihood_and_hits_ignore_smoothing_and_have_no_gradient() -> None:
    case = Case.drawn()
    found = case.sums(smoothing=0.3)
    likeliest = (case.hidden @ case.weight.T + case.bias).argmax(dim=-1)
    hits = int(((likeliest == case.targets) & (case.weights != 0)).sum())
    torch.testing.assert_close(found.nll, case.plain())
    assert (int(found.hits), hits < POSITIONS - 2) == (hits, True)
    assert [value.requires_grad for value in found] == [True, False, False]


def test_gradients_are_scaled_with_the_loss() -> None:
    case = Case.drawn()
    torch.testing.assert_close(
        case.gradients(case.sums().loss * -2.5), case.gradients(case.plain() * -2.5)
    )


def test_inputs_that_require_no_gradient_get_none() -> None:
    case = Case.drawn()
    case.weight.requires_grad_(False)
    case.bias.requires_grad_(False)
    (found,) = torch.autograd.grad(case.sums().loss, [case.hidden])
    (expected,) = torch.autograd.grad(case.plain(), [case.hidden])
    torch.testing.assert_close(found, expected)


def test_ignored_positions_may_have_any_value() -> None:
    case = Case.drawn()
    expected = case.sums().loss
    case.targets[3:5] = torch.tensor([-100, VOCABULARY])
    assert torch.equal(case.sums().loss, expected)
    with torch.no_grad():
        case.hidden[3] = torch.inf
    assert torch.equal(case.sums().loss, expected)


def test_large_logits_do_not_overflow() -> None:
    case = Case.drawn(torch.float32)
    with torch.no_grad():
        case.hidden.mul_(1e3)
    torch.testing.assert_close(case.sums().loss, case.plain())
    assert case.sums().loss.isfinite()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_half_precision_is_as_accurate_as_with_all_logits(dtype: torch.dtype) -> None:
    case = Case.drawn(dtype)
    truth = case.in_double()
    found, plain = case.sums(smoothing=0.1), case.plain(smoothing=0.1)
    assert found.loss.dtype == torch.float32
    torch.testing.assert_close(found.loss, plain)
    rows = zip(
        case.gradients(found.loss),
        case.gradients(plain),
        truth.gradients(truth.plain(smoothing=0.1)),
        strict=True,
    )
    for mine, whole, exact in rows:
        assert mine.dtype == dtype
        assert (mine - exact).norm() <= 2 * (whole - exact).norm() + 1e-3 * exact.norm()


def test_many_chunks_add_up_without_loss_of_precision() -> None:
    case = Case.drawn(torch.bfloat16, positions=2000)
    _, mine, _ = case.gradients(case.sums(chunk_elements=1).loss)
    truth = case.in_double()
    _, exact, _ = truth.gradients(truth.plain())
    assert (mine - exact).norm() <= 5e-3 * exact.norm()


def test_zero_positions_give_zero_loss_and_zero_gradients() -> None:
    case = Case.drawn(positions=0)
    found = case.sums()
    assert [float(value.detach()) for value in found] == [0.0, 0.0, 0.0]
    assert all(not gradient.any() for gradient in case.gradients(found.loss))


class Made(TorchDispatchMode):
    """Records the number of elements of the largest tensor that is not a view."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            given = {a.untyped_storage().data_ptr() for a in args if isinstance(a, Tensor)}
            if result.untyped_storage().data_ptr() not in given:
                self.largest = max(self.largest, result.numel())
        return result


def test_the_logits_of_all_positions_are_never_materialised() -> None:
    case = Case.drawn(positions=300)
    with Made() as made:
        case.gradients(case.sums(smoothing=0.1).loss)
    assert made.largest == 300 * WIDTH
    with Made() as made:
        case.plain()
    assert made.largest == 300 * VOCABULARY


def test_no_gradient_memory_is_allocated_under_no_grad() -> None:
    case = Case.drawn()
    with Made() as made, torch.no_grad():
        found = case.sums()
    assert made.largest == 4 * VOCABULARY
    assert not found.loss.requires_grad
    torch.testing.assert_close(found.loss, case.plain())


def test_a_second_run_is_bitwise_identical() -> None:
    case = Case.drawn(torch.float32)
    one, other = (case.gradients(case.sums().loss) for _ in range(2))
    assert all(map(torch.equal, one, other))
