"""Lays out the encoder's output beside the decoder's rows, if the two sides are packed apart.

R rows of the encoder, S tokens per row; B rows of the decoder, M columns of the memory beside each;
D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MemoryRows(nn.Module):
    """Moves each token of the encoder's output into the row of its example's target."""

    def forward(self, memory: Tensor, memory_cells: Tensor) -> Tensor:
        """(R, S, D), of each cell 1 + its token in the R S flattened ones or 0 (B, M) -> (B, M, D).

        Every token is read once; cells without a token are 0.
        """
        tokens, cells = memory.flatten(0, 1), memory_cells.flatten()
        # Each token is written to its cell, instead of each cell being read, so that the gradient
        # of a token is read from one cell and nothing is summed. Entry 0 takes what has no cell.
        cell_of = cells.new_zeros(len(tokens) + 1)
        cell_of = cell_of.scatter(0, cells, torch.arange(1, len(cells) + 1, device=cells.device))
        found = tokens.new_zeros(len(cells) + 1, tokens.shape[1])
        found = found.index_copy(0, cell_of[1:], tokens)
        return found[1:].view(*memory_cells.shape, -1)
