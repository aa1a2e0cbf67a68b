"""Linear-chain conditional random field over the words of sentences in packed rows.

Lafferty et al. 2001; Lample et al. 2016, section 2.2. All chains of a batch advance at the same
time, one column of the rows per step, so the shapes do not depend on where chains begin and end.

B rows, T cells per row, C tags. A chain is the words of one sentence, or of a part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
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


def marginals(emissions: Tensor, transitions: Tensor, chains: Chains) -> Tensor:
    """The probability of each tag of each word (B, T, C), over all paths of its chain.

    It is the gradient of the logarithm of the partition function by the emission. Shapes as in
    `crf_loss`; cells without a word are 0.
    """
    with torch.inference_mode(mode=False), torch.enable_grad():
        # Copies, since tensors of the inference mode take no part in gradients.
        scores = emissions.clone().requires_grad_()
        total = _log_partition(scores, transitions.clone(), chains)
        (found,) = torch.autograd.grad(total, scores)
    return found


def _log_partition(emissions: Tensor, transitions: Tensor, chains: Chains) -> Tensor:
    """Logarithm of the sum over all paths of exp(score), summed over the chains."""
    between, begin, end = _split(transitions)
    scores = emissions.new_zeros(emissions.shape[0], emissions.shape[2])
    at_each = []
    for emission, start, is_word, is_first in _columns(emissions, begin, chains):
        reached = torch.logsumexp(scores[:, :, None] + between, dim=1) + emission
        reached = torch.where(is_first, start, reached)
        # Cells without a word, such as the further tokens of a word, pass the scores on.
        scores = torch.where(is_word, reached, scores)
        at_each.append(scores)
    ended = torch.stack(at_each, dim=1) + torch.where(chains.ends[..., None], end, 0.0)
    return torch.where(chains.last, torch.logsumexp(ended, dim=2), 0.0).sum()


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
    """The column of the last word before each cell of its row (B, T); 0 before the first."""
    columns = torch.arange(words.shape[1], device=words.device)
    up_to = torch.where(words, columns, 0).cummax(dim=1).values
    return nn.functional.pad(up_to[:, :-1], (1, 0))


@torch.no_grad()
def viterbi(emissions: Tensor, transitions: Tensor, chains: Chains) -> Tensor:
    """The tags (B, T) of the best path of each chain; 0 in cells without a word.

    Shapes as in `crf_loss`. Viterbi 1967; Forney 1973.
    """
    between, begin, end = _split(transitions)
    scores = emissions.new_zeros(emissions.shape[0], emissions.shape[2])
    at_each, pointers = [], []
    for emission, start, is_word, is_first in _columns(emissions, begin, chains):
        best, pointer = (scores[:, :, None] + between).max(dim=1)
        reached = torch.where(is_first, start, best + emission)
        scores = torch.where(is_word, reached, scores)
        at_each.append(scores)
        pointers.append(pointer)
    ended = torch.stack(at_each, dim=1) + torch.where(chains.ends[..., None], end, 0.0)
    tops = ended.argmax(dim=2)
    current = torch.zeros_like(tops[:, 0])
    found = []
    for column in reversed(range(emissions.shape[1])):
        current = torch.where(chains.last[:, column], tops[:, column], current)
        found.append(current)
        # Before the first word of a chain, `current` is set by the last word of another.
        back = pointers[column].gather(1, current[:, None]).squeeze(1)
        current = torch.where(chains.words[:, column], back, current)
    return torch.where(chains.words, torch.stack(found[::-1], dim=1), 0)


def _columns(
    emissions: Tensor, begin: Tensor, chains: Chains
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield per column: emissions, the scores of a first word (B, C), words, first words (B, 1)."""
    starts = emissions + torch.where(chains.begins[..., None], begin, 0.0)
    flags = (one[..., None].unbind(1) for one in (chains.words, chains.first))
    # Unbound at once, so that the gradient is one tensor and not one per column.
    return zip(emissions.unbind(1), starts.unbind(1), *flags, strict=True)


def _split(transitions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The scores between tags (C, C), at the begin (C) and at the end (C) of a sentence."""
    return transitions[:-2], transitions[-2], transitions[-1]
