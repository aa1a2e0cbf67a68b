"""Recurrent layers: torch's RNN, LSTM and GRU, each example by itself."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from ptm.nn.key_value_cache import use_cache
from ptm.nn.model_shape import Cell
from ptm.nn.recurrent import RecurrentLayer

CELLS: tuple[Cell, ...] = get_args(Cell)
DIRECTIONS = pytest.mark.parametrize("bidirectional", [False, True], ids=["causal", "both"])
WIDTHS = (6, 8)
# Rows of several examples: the first has padding at its end, the second none, the third has one
# example and the fourth nothing but padding.
IDS = torch.tensor(
    [
        [1, 1, 1, 2, 2, 3, 3, 3, 3, 0, 0],
        [1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3],
        [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
)


def layer_of(cell: Cell, *, bidirectional: bool = False, bias: bool = True) -> RecurrentLayer:
    torch.manual_seed(0)
    layer = RecurrentLayer(cell, *WIDTHS, dropout=0.0, bidirectional=bidirectional, bias=bias)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    return layer


def of_torch(layer: RecurrentLayer) -> nn.RNNBase:
    """torch's module with the weights of `layer`."""
    size = WIDTHS[1] // 2 if layer.bidirectional else WIDTHS[1]
    made: nn.RNNBase
    if layer.cell.startswith("rnn"):
        made = nn.RNN(
            WIDTHS[0],
            size,
            nonlinearity=layer.cell.removeprefix("rnn_"),
            batch_first=True,
            bidirectional=layer.bidirectional,
            bias=layer.bias,
        )
    else:
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[layer.cell]
        made = kind(
            WIDTHS[0],
            size,
            batch_first=True,
            bidirectional=layer.bidirectional,
            bias=layer.bias,
        )
    with torch.no_grad():
        # Both list the weights in the same order.
        for theirs, ours in zip(made.parameters(), layer.parameters(), strict=True):
            theirs.copy_(ours)
    return made


def spans(row: Tensor) -> list[tuple[int, int]]:
    """The (begin, end) of each example of a row of ids."""
    numbers = [number for number in row.unique().tolist() if number > 0]
    places = [(row == number).nonzero()[:, 0].tolist() for number in numbers]
    return [(at[0], at[-1] + 1) for at in places]


@DIRECTIONS
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_a_packed_row_has_torchs_outputs_and_gradients_of_each_example(
    cell: Cell, bias: bool, bidirectional: bool
) -> None:
    layer = layer_of(cell, bidirectional=bidirectional, bias=bias)
    theirs = of_torch(layer)
    hidden = torch.randn(*IDS.shape, WIDTHS[0], requires_grad=True)
    alone = hidden.detach().clone().requires_grad_()
    weights = torch.randn(*IDS.shape, WIDTHS[1]) * (IDS > 0)[..., None]
    found = layer(hidden, IDS)
    (found * weights).sum().backward()
    expected = torch.zeros_like(found)
    for row, ids in enumerate(IDS):
        for begin, end in spans(ids):
            output = theirs(alone[row : row + 1, begin:end])[0][0]
            (output * weights[row, begin:end]).sum().backward()
            expected[row, begin:end] = output.detach()
    torch.testing.assert_close(found * (IDS > 0)[..., None], expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(hidden.grad, alone.grad, rtol=1e-5, atol=1e-5)
    for mine, other in zip(layer.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-5, atol=1e-5)


@DIRECTIONS
@pytest.mark.parametrize("cell", CELLS)
def test_rows_of_one_example_are_torchs(cell: Cell, bidirectional: bool) -> None:
    layer, hidden = layer_of(cell, bidirectional=bidirectional), torch.randn(3, 7, WIDTHS[0])
    found = layer(hidden, torch.ones(3, 7, dtype=torch.int64))
    torch.testing.assert_close(found, of_torch(layer)(hidden)[0], rtol=0, atol=1e-6)
    # Pipeline stages send contiguous tensors only.
    assert found.is_contiguous()


@pytest.mark.parametrize("cell", CELLS)
def test_padding_after_the_example_does_not_change_it(cell: Cell) -> None:
    layer, hidden = layer_of(cell), torch.randn(2, 7, WIDTHS[0])
    ids = torch.tensor([[1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]])
    found, expected = layer(hidden, ids), of_torch(layer)(hidden)[0]
    torch.testing.assert_close(found[ids > 0], expected[ids > 0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_calls_that_continue_equal_one_call(cell: Cell) -> None:
    """Also where an example begins in a later call, and after left padding."""
    layer = layer_of(cell)
    ids = torch.tensor([[0, 0, 1, 1, 1, 1, 2, 2], [1, 1, 1, 2, 2, 2, 2, 2], [1] * 8])
    hidden = torch.randn(*ids.shape, WIDTHS[0])
    with torch.no_grad(), use_cache(layer):
        cuts = [(0, 4), (4, 5), (5, 6), (6, 8)]
        found = [layer(hidden[:, begin:end], ids[:, begin:end]) for begin, end in cuts]
    with torch.no_grad():
        whole = layer(hidden, ids)
    real = ids > 0
    torch.testing.assert_close(torch.cat(found, 1)[real], whole[real], rtol=0, atol=1e-6)


def test_both_directions_need_weights_of_their_own() -> None:
    names = [name for name, _ in layer_of("lstm", bidirectional=True).named_parameters()]
    plain = ["input_weight", "state_weight", "input_bias", "state_bias"]
    assert names == [*plain, *(f"reverse_{name}" for name in plain)]
