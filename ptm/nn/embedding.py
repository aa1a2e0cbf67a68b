"""Embeddings: the word embedding, whose matrix may be tied to the output layer, and sums of parts.

B rows, T tokens per row, D hidden size, E embedding size, V vocabulary size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptm.nn.layers import Dropout, build_norm
from ptm.nn.linear import Linear, linear
from ptm.nn.model_shape import WORD, ModelShape
from ptm.nn.vocabulary_loss import target_sums
from ptm.plan import Operation


class WordEmbedding(nn.Module):
    """The word embedding matrix (V, E): embeds ids, and serves as a tied output layer or loss."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape.vocabulary_size, shape.embedding_size))

    def forward(
        self, tokens: Tensor, *more: Tensor, unembed: bool = False, smoothing: float | None = None
    ) -> Tensor:
        """Embed ids (B, T) -> (B, T, E).

        With `unembed`: hidden (…, E), optionally a bias (V) -> logits (…, V). With `smoothing`:
        hidden (B, T, E), targets and weights (B, T), optionally a bias (V) -> the sums of loss,
        negative log likelihood and hits (3), as in `vocabulary_sums`.
        """
        if smoothing is not None:
            return target_sums(tokens, self.weight, *more, smoothing=smoothing)
        if unembed:
            return linear(tokens, self.weight, *more)
        return F.embedding(tokens, self.weight)


def word_operation(shape: ModelShape, *, name: str = WORD) -> Operation:
    """The operation input_ids (B, T) -> hidden (B, T, E), the first of every model."""
    return Operation(
        name, lambda: WordEmbedding(shape), ("input_ids",), ("hidden",), tie=shape.word_key
    )


def tied_unembedding_operation(
    name: str, shape: ModelShape, *, reads: str, writes: str
) -> Operation:
    """The operation hidden -> logits with the matrix of the word embedding."""
    return Operation(
        name,
        lambda: WordEmbedding(shape),
        (reads,),
        (writes,),
        tie=shape.word_key,
        options={"unembed": True},
    )


class SegmentEmbedding(nn.Embedding):
    """A row for padding (0), and one for each segment; a single one is that of all tokens.

    RoBERTa has one segment, also for pairs of texts.
    """

    def __init__(self, segments: int, width: int) -> None:
        super().__init__(1 + segments, width)

    def forward(self, input: Tensor) -> Tensor:
        """Segment ids (B, T) -> (B, T, E)."""
        return super().forward(input.clamp(max=1) if self.num_embeddings == 2 else input)


class SummedEmbedding(nn.Module):
    """The sum of word vectors and the other parts, then norm, dropout and projection.

    The projection is present only if the widths E and D differ.
    """

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
            Linear(width, shape.hidden_size, bias=shape.bias)
            if width != shape.hidden_size
            else nn.Identity()
        )

    def forward(self, words: Tensor, *ids: Tensor) -> Tensor:
        """Word vectors (B, T, E) and, for each part, its ids (B, T) -> (B, T, D)."""
        summed = words if self.scale is None else words * self.scale
        for name, indices in zip(self.names, ids, strict=True):
            summed = summed + self.get_submodule(name)(indices)
        if self.norm is not None:
            summed = self.norm(summed)
        summed = self.dropout(summed)
        projected: Tensor = self.projection(summed)
        return projected


class TaskTable(nn.Embedding):
    """One row per task (tasks, E); pretraining uses task 0 only."""

    def forward(self, example_ids: Tensor) -> Tensor:
        """(B, T) -> (E), the row of task 0, which broadcasts over all tokens."""
        row: Tensor = self.weight[0]
        return row
