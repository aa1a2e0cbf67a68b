"""Parts shared by all objectives that predict the next token: targets, head and loss.

The loss computes the logits chunk by chunk, so that (B, T, V) logits are never in memory at once.
They are computed whole only if the output `logits` is requested.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.component import Config
from ptm.components.objectives.base import BatchView, Metric, Objective
from ptm.data.examples import TokenSpans
from ptm.data.placement import Placement
from ptm.data.windows import BEGINS, ENDS
from ptm.nn.model_shape import ModelShape
from ptm.plan import Operation
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

NEXT_TARGETS = ("target_weights",)
NEXT_OUTPUTS = ("lm_sums",)
NEXT_METRICS = (
    Metric("lm_loss", count="predicted", weight=1.0),
    Metric("lm_accuracy", count="predicted", higher_is_better=True),
)


class LmHead(Config):
    """Options of the output layer."""

    tied: bool = True
    """Whether the output matrix is the word embedding (the decoder's, if it has its own). If the
    embedding's width differs from hidden_size, a projection to it comes first; an output matrix of
    its own has the width hidden_size."""
    bias: bool = False
    """Whether the output layer has a bias."""
    scaled: bool = False
    """Divide the hidden states by the square root of the hidden size (T5 with a tied head)."""


def with_boundary_tokens(texts: TokenSpans, vocabulary: Vocabulary) -> tuple[I64, I64]:
    """Return the windows (N) with start and end tokens as their labels require, and their lengths.

    Texts without labels are complete windows already.
    """
    if texts.labels is None:
        return texts.tokens, texts.lengths
    begins, ends = (texts.labels & BEGINS) > 0, (texts.labels & ENDS) > 0
    lengths = texts.lengths + begins + ends
    first = exclusive_cumsum(lengths)
    stream = np.empty(int(lengths.sum()), dtype=np.int64)
    stream[ragged_ranges(first + begins, texts.lengths)] = texts.tokens
    if begins.any():
        stream[first[begins]] = vocabulary.special_id("bos")
    stream[(first + lengths - 1)[ends]] = vocabulary.special_id("eos")
    return stream, lengths


def target_tensors(
    targets: I64, weights: I64, placement: Placement
) -> dict[str, NDArray[np.int64]]:
    """Return `target_ids` and `target_weights` (B, T) from the values for every input token (N).

    `weights`: 1 for targets that count in the loss, else 0.
    """
    return {
        "target_ids": placement.to_grid(targets, fill=0),
        "target_weights": placement.to_grid(weights, fill=0),
    }


def next_token_operations(
    head: LmHead, shape: ModelShape, *, smoothing: float = 0.0
) -> tuple[Operation, ...]:
    """Return the head: hidden (B, T, D), target_ids, target_weights (B, T) -> lm_sums (3).

    The sums are loss, negative log likelihood (without smoothing) and hits (correct predictions).
    A second operation, hidden -> logits (B, T, V), runs only if `logits` is requested.
    `smoothing`: share of every target spread over the vocabulary (Szegedy et al. 2016, section 7).
    """
    from torch import nn

    from ptm.nn.embedding import WordEmbedding
    from ptm.nn.heads import BiasVector, Scaled, Unembedding

    width, size = shape.hidden_size, shape.vocabulary_size
    before: tuple[Operation, ...] = ()
    output = shape if head.tied else replace(shape, embedding_size=width)
    if output.embedding_size != width:
        narrow = partial(nn.Linear, width, output.embedding_size, bias=False)
        before += (Operation("lm_projection", narrow, ("hidden",), ("hidden",)),)
    if head.scaled:
        before += (Operation("lm_scale", lambda: Scaled(width**-0.5), ("hidden",), ("hidden",)),)
    bias: tuple[str, ...] = ()
    if head.bias:
        bias = ("output_bias",)
        before += (Operation("lm_bias", lambda: BiasVector(size), ("hidden",), bias),)
    matrix = WordEmbedding if head.tied else Unembedding
    tie = shape.word_key if head.tied else "lm_unembed"
    return (
        *before,
        Operation(
            "lm_loss",
            lambda: matrix(output),
            ("hidden", "target_ids", "target_weights", *bias),
            NEXT_OUTPUTS,
            tie=tie,
            options={"smoothing": smoothing},
        ),
        Operation(
            "lm_logits",
            lambda: matrix(output),
            ("hidden", *bias),
            ("logits",),
            tie=tie,
            options={"unembed": True} if head.tied else {},
        ),
    )


class NextTokenObjective(Objective):
    """Base class: cross entropy over all targets, without holding all logits in memory."""

    head: LmHead = LmHead()

    metrics: ClassVar[tuple[Metric, ...]] = NEXT_METRICS
    targets: ClassVar[tuple[str, ...]] = NEXT_TARGETS
    view: ClassVar[BatchView] = BatchView(targets=(("to be predicted", "target_ids"),))

    def has_head(self, names: Collection[str]) -> bool:
        # A tied head has no matrix of its own.
        return self.head.tied or "lm_unembed.weight" in names

    @property
    def needs_word_starts(self) -> bool:
        return False

    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        """Return the head: hidden (B, T, D) -> sums of loss and hits, or logits (B, T, V)."""
        return next_token_operations(self.head, shape)

    @property
    def outputs(self) -> tuple[str, ...]:
        return NEXT_OUTPUTS

    def metric_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        loss, _, hits = outputs["lm_sums"].unbind()
        return {"lm_loss": loss, "lm_accuracy": hits}
