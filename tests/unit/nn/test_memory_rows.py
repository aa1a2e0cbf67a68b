"""The encoder's output in the rows of the decoder, and its gradient."""

from __future__ import annotations

import torch

from ptm.nn.memory_rows import MemoryRows

CELLS = torch.tensor([[4, 5, 1, 2], [6, 0, 0, 0]])
"""Five of six tokens of two rows, each in one cell, and three cells without a token."""


def test_each_token_is_in_its_cell_and_other_cells_are_zero() -> None:
    memory = torch.randn(2, 3, 8)
    found = MemoryRows()(memory, CELLS)
    padded = torch.cat((torch.zeros(1, 8), memory.flatten(0, 1)))
    assert torch.equal(found, padded[CELLS])


def test_each_token_has_the_gradient_of_its_cell() -> None:
    memory = torch.randn(2, 3, 8, requires_grad=True)
    received = torch.randn(*CELLS.shape, 8)
    (found,) = torch.autograd.grad(MemoryRows()(memory, CELLS), memory, received)
    expected = torch.zeros(7, 8)
    expected[CELLS.flatten()] = received.flatten(0, 1)
    expected[3] = 0.0
    assert torch.equal(found, expected[1:].view(2, 3, 8)), "the third token is in no cell"
