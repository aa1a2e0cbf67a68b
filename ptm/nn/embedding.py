"""Embeddings: words, whose matrix may be the output layer too, and the sum with other parts."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptm.nn.layers import Dropout, build_norm
from ptm.nn.model_shape import WORD, ModelShape
from ptm.nn.vocabulary_loss import target_sums
from ptm.plan import Step


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


class SummedEmbedding(nn.Module):
    """Word vectors plus the other parts, normalised, dropped out, projected if need be."""

    def __init__(
        self, parts: Mapping[str, nn.Module], shape: ModelShape, *, scaled: bool, normed: bool
    ) -> None:
        super().__init__()
        width = shape.embedding_size
        self.scale = math.sqrt(width) if scaled else None
        self.names = tuple(parts)
        for name, part in parts.items():
            self.add_module(name, part)
        self.norm = build_norm(shape, width) if normed else None
        self.dropout = Dropout(shape.dropout)
        self.projection = (
            nn.Linear(width, shape.hidden_size, bias=shape.bias)
            if width != shape.hidden_size
            else nn.Identity()
        )

    def forward(self, words: Tensor, *ids: Tensor) -> Tensor:
        """(B, T, E), (B, T) a part -> (B, T, D)."""
        summed = words if self.scale is None else words * self.scale
        for name, indices in zip(self.names, ids, strict=True):
            summed = summed + self.get_submodule(name)(indices)
        if self.norm is not None:
            summed = self.norm(summed)
        summed = self.dropout(summed)
        projected: Tensor = self.projection(summed)
        return projected


class TaskTable(nn.Embedding):
    """A row a task; what is trained here is task 0."""

    def forward(self, example_ids: Tensor) -> Tensor:
        """(B, T) -> the row (E) that every token gets."""
        row: Tensor = self.weight[0]
        return row
