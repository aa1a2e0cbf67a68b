"""Gated convolutions, compared with the formulas of the paper token by token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ptm.nn.gated_convolution import GatedConvolution, GatedConvolutionBlock
from ptm.nn.key_value_cache import use_cache

KERNEL, WIDTH = 4, 5
IDS = torch.tensor([[1, 1, 2, 2, 2, 2, 2, 3, 0, 0], [1, 2, 3, 3, 3, 3, 3, 3, 3, 3]])


def block_of() -> GatedConvolutionBlock:
    torch.manual_seed(0)
    block = GatedConvolutionBlock(WIDTH, kernel_size=KERNEL, bias=True, dropout=0.0)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.4)
    return block


def by_the_paper(layer: GatedConvolution, example: Tensor) -> Tensor:
    """(X * W + b) x sigmoid(X * V + c) (equation 1) of one example (T, C), zeros before it."""
    width = len(layer.weight) // 2
    steps = layer.weight.view(2 * width, KERNEL, -1)
    rows = []
    for at in range(len(example)):
        total = torch.zeros(2 * width)
        for back in range(min(KERNEL, at + 1)):
            total = total + steps[:, KERNEL - 1 - back] @ example[at - back]
        assert layer.bias is not None
        total = total + layer.bias
        rows.append(total[:width] * torch.sigmoid(total[width:]))
    return torch.stack(rows)


def examples(hidden: Tensor) -> list[tuple[tuple[int, slice], Tensor]]:
    """Place and tokens of each example of the rows."""
    found = []
    for row, ids in enumerate(IDS):
        for number in range(1, int(ids.max()) + 1):
            at = (ids == number).nonzero()[:, 0]
            place = (row, slice(int(at[0]), int(at[-1]) + 1))
            found.append((place, hidden[place]))
    return found


def test_a_packed_row_has_the_outputs_and_gradients_of_each_example() -> None:
    block = block_of()
    hidden = torch.randn(*IDS.shape, WIDTH, requires_grad=True)
    real = (IDS > 0)[..., None]
    weights = torch.randn(*IDS.shape, WIDTH) * real
    found = block(hidden, IDS)
    expected = torch.zeros_like(found)
    for place, example in examples(hidden):
        branch = by_the_paper(block.second, by_the_paper(block.first, example))
        expected[place] = example + branch
    torch.testing.assert_close(found * real, expected, rtol=0, atol=1e-6)
    wanted = [hidden, *block.parameters()]
    for mine, theirs in zip(
        torch.autograd.grad((found * weights).sum(), wanted),
        torch.autograd.grad((expected * weights).sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_the_weight_is_that_of_torchs_convolution() -> None:
    layer = block_of().first
    hidden = torch.randn(2, 9, WIDTH)
    padded = nn.functional.pad(hidden.transpose(1, 2), (KERNEL - 1, 0))
    both = nn.functional.conv1d(
        padded, layer.weight.view(len(layer.weight), KERNEL, -1).transpose(1, 2), layer.bias
    )
    value, gate = both.transpose(1, 2).chunk(2, dim=-1)
    found = layer(hidden, torch.ones(2, 9, dtype=torch.int64))
    torch.testing.assert_close(found, value * gate.sigmoid(), rtol=0, atol=1e-6)


def test_calls_that_continue_equal_one_call() -> None:
    block = block_of()
    ids = torch.tensor([[0, 0, 1, 1, 1, 1, 2, 2], [1, 1, 1, 2, 2, 2, 2, 2]])
    hidden = torch.randn(*ids.shape, WIDTH)
    with torch.no_grad(), use_cache(block) as caches:
        cuts = [(0, 2), (2, 3), (3, 4), (4, 8)]
        found = [block(hidden[:, begin:end], ids[:, begin:end]) for begin, end in cuts]
        assert len(caches) == 2
    with torch.no_grad():
        whole = block(hidden, ids)
    torch.testing.assert_close(torch.cat(found, 1), whole, rtol=0, atol=1e-6)
