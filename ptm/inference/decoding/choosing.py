"""The next token: the likeliest, or one drawn from the likeliest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# B rows, V vocabulary.


@dataclass(frozen=True)
class Sampling:
    """What is drawn from: the distribution, sharpened, without its tail."""

    temperature: float = 1.0
    """Scores are divided by it."""
    top_k: int | None = None
    """Only so many of the likeliest tokens (Fan et al. 2018, section 5.1)."""
    top_p: float | None = None
    """Only the fewest likeliest that have this share together (Holtzman et al. 2020)."""

    def choose(self, logits: Tensor, dice: torch.Generator) -> Tensor:
        """(B, V) -> a token a row (B)."""
        return torch.multinomial(self.probabilities(logits), 1, generator=dice)[:, 0]

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, V) -> what is drawn from (B, V)."""
        scores = logits / self.temperature
        if self.top_k is not None and self.top_k < scores.shape[-1]:
            least = scores.topk(self.top_k, dim=-1).values[:, -1:]
            scores = scores.masked_fill(scores < least, float("-inf"))
        if self.top_p is not None:
            scores = _nucleus(scores, self.top_p)
        return scores.softmax(dim=-1)


def _nucleus(scores: Tensor, share: float) -> Tensor:
    """`scores` without the tokens after those that have `share` together; the first stays."""
    ordered, order = scores.sort(dim=-1, descending=True)
    shares = ordered.softmax(dim=-1)
    before = shares.cumsum(dim=-1) - shares
    beyond = torch.empty_like(before, dtype=torch.bool).scatter_(-1, order, before >= share)
    return scores.masked_fill(beyond, float("-inf"))
