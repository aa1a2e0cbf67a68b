"""Word embeddings, and the same matrix as the output layer of a tied head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptm.nn.shape import ModelShape
from ptm.nn.vocabulary_loss import target_sums
from ptm.plan import Step

WORD = "word"
"""What recipes call it."""


class WordEmbedding(nn.Module):
    """A table that embeds ids, scores every token against it, or gives the loss of such scores."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape.vocabulary_size, shape.embedding_size))

    def forward(
        self, tokens: Tensor, *more: Tensor, unembed: bool = False, smoothing: float | None = None
    ) -> Tensor | tuple[Tensor, ...]:
        """Ids (B, T) -> (B, T, E); with `unembed`, hidden (…, E) -> logits (…, V).

        With `smoothing`, hidden (B, T, E), targets and weights (B, T) and perhaps a bias (V) -> the
        sums of loss, negative log likelihood and hits.
        """
        if smoothing is not None:
            return target_sums(tokens, self.weight, *more, smoothing=smoothing)
        if unembed:
            return F.linear(tokens, self.weight, *more)
        return F.embedding(tokens, self.weight)


def word_step(shape: ModelShape, *, name: str = WORD) -> Step:
    """input_ids -> hidden, the first step of every model."""
    return Step(name, lambda: WordEmbedding(shape), ("input_ids",), ("hidden",), tie=shape.word_key)


def tied_unembedding_step(name: str, shape: ModelShape, *, reads: str, writes: str) -> Step:
    """Logits through the word embedding's own matrix."""
    return Step(
        name,
        lambda: WordEmbedding(shape),
        (reads,),
        (writes,),
        tie=shape.word_key,
        options={"unembed": True},
    )
