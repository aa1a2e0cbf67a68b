"""Word embeddings, and the same matrix as the output layer of a tied head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptm.nn.shape import ModelShape
from ptm.plan import Step

WORD = "word"
WORD_KEY = "word_embedding"
"""The tie key: every step with it calls the one module."""


class WordEmbedding(nn.Module):
    """A table that embeds ids, or, called with `unembed`, scores every token against it."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape.vocabulary_size, shape.embedding_size))

    def forward(self, tokens: Tensor, unembed: bool = False) -> Tensor:
        """Ids (B, T) -> (B, T, E); with `unembed`, hidden (P, E) -> logits (P, V)."""
        if unembed:
            return F.linear(tokens, self.weight)
        return F.embedding(tokens, self.weight)


def word_step(shape: ModelShape) -> Step:
    """input_ids -> hidden, the first step of every model."""
    return Step("word", lambda: WordEmbedding(shape), ("input_ids",), ("hidden",), tie=WORD_KEY)


def tied_unembedding_step(name: str, shape: ModelShape, *, reads: str, writes: str) -> Step:
    """Logits through the word embedding's own matrix."""
    return Step(
        name,
        lambda: WordEmbedding(shape),
        (reads,),
        (writes,),
        tie=WORD_KEY,
        options={"unembed": True},
    )
