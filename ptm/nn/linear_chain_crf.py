"""Linear-chain conditional random field over the words of sentences in packed rows.

Lafferty et al. 2001; Lample et al. 2016, section 2.2. All chains of a batch advance at the same
time, one column of the rows per step, so the shapes do not depend on where chains begin and end.

B rows, T cells per row, C tags. A chain is the words of one sentence, or of a part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

FORBIDDEN = -1e6
"""Score of a transition that is not allowed: finite, so that no path is without a score."""


@dataclass(frozen=True)
class Chains:
    """Where the chains are in the rows: flags of the cells (B, T each).

    `words`: cells with a word. `first`, `last`: the first and last word of each chain. `begins`:
    first words that begin a sentence. `ends`: last words that end one.
    """

    words: Tensor
    first: Tensor
    last: Tensor
    begins: Tensor
    ends: Tensor


class Transitions(nn.Module):
    """Scores of a tag after another, at the begin and at the end of a sentence."""

    def __init__(self, tags: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tags + 2, tags))

    def forward(self, tag_logits: Tensor) -> Tensor:
        """The scores (C + 2, C) in the dtype of the emissions (B, T, C).

        Row i: tag i before each tag. Row C: the begin of a sentence. Row C + 1: its end.
        """
        # A copy, because ZeRO-3 releases the parameter's memory after this call.
        return self.weight.to(tag_logits.dtype, copy=True)


def crf_loss(emissions: Tensor, transitions: Tensor, tags: Tensor, chains: Chains) -> Tensor:
    """Negative log likelihood of the `tags` (B, T), summed over all chains: a scalar.

    `emissions` (B, T, C): the score of each tag of a word; other cells count nothing. `transitions`
    (C + 2, C) as in `Transitions`.
    """
    return _log_partition(emissions, transitions, chains) - _path_score(
        emissions, transitions, tags, chains
    )


def _log_partition(emissions: Tensor, transitions: Tensor, chains: Chains) -> Tensor:
    """Logarithm of the sum over all paths of exp(score), summed over the chains."""
    between, begin, end = _split(transitions)
    starts = torch.where(chains.begins[..., None], begin, 0.0) + emissions
    scores = emissions.new_zeros(emissions.shape[0], emissions.shape[2])
    total = emissions.new_zeros(emissions.shape[0])
    for column in range(emissions.shape[1]):
        reached = torch.logsumexp(scores[:, :, None] + between, dim=1) + emissions[:, column]
        reached = torch.where(chains.first[:, column, None], starts[:, column], reached)
        # Cells without a word, such as the further tokens of a word, pass the scores on.
        scores = torch.where(chains.words[:, column, None], reached, scores)
        ended = torch.where(chains.ends[:, column, None], scores + end, scores)
        total = total + torch.where(chains.last[:, column], torch.logsumexp(ended, dim=1), 0.0)
    return total.sum()


def _path_score(emissions: Tensor, transitions: Tensor, tags: Tensor, chains: Chains) -> Tensor:
    """The score of the given tags, summed over the chains."""
    between, begin, end = _split(transitions)
    zero = emissions.new_zeros(())
    of_words = emissions.gather(2, tags[..., None]).squeeze(2)
    before = tags.gather(1, _previous_words(chains.words))
    follows = chains.words & ~chains.first
    return (
        torch.where(chains.words, of_words, zero).sum()
        + torch.where(follows, between[before, tags], zero).sum()
        + torch.where(chains.begins, begin[tags], zero).sum()
        + torch.where(chains.ends, end[tags], zero).sum()
    )


def _previous_words(words: Tensor) -> Tensor:
    """The column of the last word before each cell of its row (B, T); 0 if it has none."""
    columns = torch.arange(words.shape[1], device=words.device)
    up_to = torch.where(words, columns, 0).cummax(dim=1).values
    return nn.functional.pad(up_to[:, :-1], (1, 0))


@torch.no_grad()
def viterbi(emissions: Tensor, transitions: Tensor, chains: Chains) -> Tensor:
    """The tags (B, T) of the best path of each chain; 0 in cells without a word.

    Shapes as in `crf_loss`. Viterbi 1967; Forney 1973.
    """
    between, begin, end = _split(transitions)
    starts = torch.where(chains.begins[..., None], begin, 0.0) + emissions
    scores = emissions.new_zeros(emissions.shape[0], emissions.shape[2])
    pointers, tops = [], []
    for column in range(emissions.shape[1]):
        best, pointer = (scores[:, :, None] + between).max(dim=1)
        reached = best + emissions[:, column]
        reached = torch.where(chains.first[:, column, None], starts[:, column], reached)
        scores = torch.where(chains.words[:, column, None], reached, scores)
        ended = torch.where(chains.ends[:, column, None], scores + end, scores)
        pointers.append(pointer)
        tops.append(ended.argmax(dim=1))
    current = torch.zeros_like(tops[0])
    found = []
    for column in reversed(range(emissions.shape[1])):
        current = torch.where(chains.last[:, column], tops[column], current)
        found.append(torch.where(chains.words[:, column], current, 0))
        back = pointers[column].gather(1, current[:, None]).squeeze(1)
        current = torch.where(chains.words[:, column], back, current)
    return torch.stack(found[::-1], dim=1)


def _split(transitions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The scores between tags (C, C), at the begin (C) and at the end (C) of a sentence."""
    return transitions[:-2], transitions[-2], transitions[-1]
