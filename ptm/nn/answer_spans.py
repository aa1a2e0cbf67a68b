"""Spans that answer a question: logits of the first and the last token, loss and best spans.

Devlin et al. 2018, section 4.2. B rows, T tokens per row, D width, P windows (padded), L tokens of
the longest answer, N spans.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_CELLS_TOGETHER = 2**24
"""Spans of some windows that are compared at the same time."""


@dataclass(frozen=True)
class WindowCells:
    """Where windows are in the rows.

    `first` (P): index of each window's first token in the flattened rows. `lengths` (P): its
    tokens, 0 for padding. `contexts` (P): the position of the context's first token in it.
    """

    first: Tensor
    lengths: Tensor
    contexts: Tensor


def window_logits(logits: Tensor, cells: WindowCells) -> Tensor:
    """Gather the logits (B, T, 2) of each window's own cells: (P, 2, T), the lowest number beside.

    In fp32. Several windows may share a row.
    """
    position = torch.arange(logits.shape[1], device=logits.device)
    flat = logits.flatten(0, 1)
    at = (cells.first[:, None] + position).clamp(max=len(flat) - 1)
    gathered = flat.index_select(0, at.flatten()).view(*at.shape, 2).float().transpose(1, 2)
    own = position < cells.lengths[:, None]
    return gathered.masked_fill(~own[:, None], torch.finfo(torch.float32).min)


def span_sums(logits: Tensor, positions: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy and hits of windows, summed where `counted` (P).

    `logits` (P, 2, T), `positions` (P, 2): those of the first and the last token. The cross entropy
    is the mean of both, as in transformers' models for question answering. A hit is a window in
    which both have the largest logit. Returns two fp32 scalars.
    """
    wanted = positions.masked_fill(~counted[:, None], -100)
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), wanted.flatten(), ignore_index=-100, reduction="sum"
    )
    right = (logits.detach().argmax(dim=-1) == positions).all(dim=-1) & counted
    return loss / 2, right.sum().float()


def best_spans(
    logits: Tensor, cells: WindowCells, *, max_answer_length: int, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The spans with the largest sums of both logits, of all spans of the context.

    `logits` (P, 2, T). A span has at most `max_answer_length` tokens. Returns scores, first and
    last positions in the window (P, N), best first; N is `count`, or all spans if there are fewer.
    Spans that do not exist have the score -inf.
    """
    columns = logits.shape[2]
    longest = min(max_answer_length, columns)
    chunk = max(1, _CELLS_TOGETHER // (columns * longest))
    found = [
        _best(
            logits[at : at + chunk],
            cells.contexts[at : at + chunk],
            # The last token is [SEP].
            cells.lengths[at : at + chunk] - 1,
            longest,
            count,
        )
        for at in range(0, len(logits), chunk)
    ]
    scores, first, last = (torch.cat(parts) for parts in zip(*found, strict=True))
    return scores, first, last


def _best(
    logits: Tensor, begin: Tensor, end: Tensor, longest: int, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    columns = logits.shape[2]
    position = torch.arange(columns, device=logits.device)
    inside = (position >= begin[:, None]) & (position < end[:, None])
    own = logits.masked_fill(~inside[:, None], -torch.inf)
    # Of each first token (T) the next L tokens, itself included, as the last one.
    ends = torch.nn.functional.pad(own[:, 1], (0, longest - 1), value=-torch.inf)
    scores = (own[:, 0, :, None] + ends.unfold(1, longest, 1)).flatten(1)
    best, at = scores.topk(min(count, scores.shape[1]), dim=1)
    first = at // longest
    return best, first, first + at % longest


def null_scores(logits: Tensor) -> Tensor:
    """The score of no answer in each window (P): that of the span of [CLS] alone."""
    return logits[:, :, 0].sum(dim=1)
