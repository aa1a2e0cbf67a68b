"""Recurrent streams that read in opposite directions: ELMo (Peters et al. 2018, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ptm.nn.model_shape import Cell
from ptm.nn.recurrent import RecurrentLayer

# B rows, T tokens per row, I input size, D output size of both directions together.


class TwoStreamLayer(nn.Module):
    """One recurrent layer of each direction, with dropout of both outputs.

    With `split_input`, the input is the output of such a layer, and each direction reads its own
    half of it. Otherwise both read the whole input, which is the embedding.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        output_size: int,
        *,
        split_input: bool,
        dropout: float,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.split_input = split_input
        read = input_size // 2 if split_input else input_size
        size = output_size // 2
        self.forward_stream = RecurrentLayer(cell, read, size, dropout=dropout, bias=bias)
        self.backward_stream = RecurrentLayer(cell, read, size, dropout=dropout, bias=bias)

    def forward(self, hidden: Tensor, example_ids: Tensor) -> Tensor:
        """(B, T, I), ids (B, T) -> (B, T, D): the forward half, then the backward half."""
        first, second = hidden.chunk(2, dim=-1) if self.split_input else (hidden, hidden)
        # A causal layer reads a reversed row from right to left.
        backward = self.backward_stream(second.flip(1), example_ids.flip(1)).flip(1)
        return torch.cat((self.forward_stream(first, example_ids), backward), dim=-1)


class SplitStreams(nn.Module):
    """Separates the two directions."""

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) -> forward and backward half (B, T, D / 2), both contiguous."""
        forward, backward = hidden.chunk(2, dim=-1)
        # A pipeline stage cannot send a view.
        return forward.contiguous(), backward.contiguous()
