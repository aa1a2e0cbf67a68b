"""Softmax over the choices of each question. P choices of a micro-batch, padded; M most of one."""

from __future__ import annotations

import torch
from torch import Tensor


def choice_sums(
    logits: Tensor, numbers: Tensor, right: Tensor, *, most: int
) -> tuple[Tensor, Tensor]:
    """Cross entropy and number of hits, summed over the questions.

    `logits` (P): one per choice, those of a question after each other. `numbers` (P): the number of
    each choice in its question, from 1; 0 for padding. `right` (P): 1 for the right choice of a
    question. `most`: M. Returns two fp32 scalars.
    """
    logits, real = logits.float(), numbers > 0
    # Question 0 may be padding alone.
    question = ((numbers == 1).cumsum(0) - 1).clamp(min=0)
    column = (numbers - 1).clamp(min=0)
    size = len(logits) * most
    place = torch.where(real, question * most + column, size)
    grid = logits.new_full((size + 1,), -torch.inf).scatter(0, place, logits)[:size]
    grid = grid.view(-1, most)
    # Rows without a question have no largest choice.
    empty = torch.isinf(grid).all(dim=1, keepdim=True)
    likely = torch.log_softmax(grid.masked_fill(empty, 0.0), dim=1)
    mine = likely.flatten().index_select(0, place.clamp(max=size - 1))
    is_right = real & (right > 0)
    loss = -torch.where(is_right, mine, 0.0).sum()
    best = grid.detach().argmax(dim=1).index_select(0, question)
    return loss, (is_right & (best == column)).sum().float()
