"""Bidirectional language modelling: ELMo (Peters et al. 2018, section 3.1).

Two language models share the embedding: the forward half of the hidden states predicts the next
token, the backward half the previous one. The loss is the sum of both, as in the paper and in
UER-py; `lm_loss`, whose exponential is the perplexity, is their mean, as ELMo's perplexity is
reported.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.component import Config
from ptm.components.objectives.base import BatchView, Metric, MicroBatch, Objective, RandomSource
from ptm.components.objectives.next_tokens import NEXT_TARGETS, with_boundary_tokens
from ptm.data.documents import Documents
from ptm.data.examples import Examples, ExamplesType, TokenSpans
from ptm.data.packing import RowSize
from ptm.data.placement import Placement, row_tensors
from ptm.data.windows import Windows, document_windows
from ptm.nn.model_shape import ModelShape
from ptm.plan import Operation
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    from torch import Tensor

_DIRECTIONS = ("forward", "backward")
_NEIGHBOURS = 2
"""Tokens of a window that are targets only: those before and after its input."""


class BilmHead(Config):
    """Options of the output layers."""

    shared: bool = True
    """Whether both directions have the same output layer (ELMo), or each its own."""
    tied: bool = False
    """Whether the output matrix is the word embedding, which must have the width of one
    direction."""
    bias: bool = False
    """Whether an output layer has a bias."""

    @model_validator(mode="after")
    def _check_tie(self) -> Self:
        if self.tied and not self.shared:
            raise ValueError(
                "tied = true gives both directions the word embedding as output matrix, which "
                "contradicts shared = false. Remove one of them."
            )
        return self


class Bilm(Objective):
    """Predict every token from those before it and, separately, from those after it."""

    type: Literal["bilm"]
    head: BilmHead = BilmHead()

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("forward_loss", count="predicted", weight=1.0),
        Metric("backward_loss", count="predicted", weight=1.0),
        Metric("lm_loss", count="predicted"),
        Metric("forward_accuracy", count="predicted", higher_is_better=True),
        Metric("backward_accuracy", count="predicted", higher_is_better=True),
    )
    perplexity_of: ClassVar[str | None] = "lm_loss"
    layouts: ClassVar[tuple[str, ...]] = ("documents", "sentences")
    visibilities: ClassVar[tuple[str, ...]] = ("full",)
    needs_separate_directions: ClassVar[bool] = True
    special_roles: ClassVar[tuple[str, ...]] = ("pad", "bos", "eos")
    boundary_roles: ClassVar[tuple[str | None, str | None]] = (None, None)
    targets: ClassVar[tuple[str, ...]] = NEXT_TARGETS
    view: ClassVar[BatchView] = BatchView(
        targets=(
            ("to be predicted forward", "forward_target_ids"),
            ("to be predicted backward", "backward_target_ids"),
        )
    )
    index_type: ClassVar[ExamplesType] = Windows

    @property
    def needs_word_starts(self) -> bool:
        return False

    def has_head(self, names: Collection[str]) -> bool:
        # A tied head has no matrix of its own.
        return self.head.tied or all(
            f"{self._output(side)}.weight" in names for side in _DIRECTIONS
        )

    def head_obstacle(self, shape: ModelShape) -> str | None:
        width = shape.hidden_size // 2
        if not self.head.tied or shape.embedding_size == width:
            return None
        return (
            f"has tied: true, but the word embedding is {shape.embedding_size} wide and each "
            f"direction {width} (half of model.encoder.hidden_size). Set tied: false or "
            f"model.embedding.size: {width}."
        )

    def row_lengths(self, examples: Examples) -> I64:
        assert isinstance(examples, Windows), "made by `index`"
        return np.asarray(examples.stream_lengths)[:, None] - _NEIGHBOURS

    @property
    def index_key(self) -> str:
        return "bilm"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Return documents with start and end token, cut into windows of length + 2 tokens.

        Neighbouring windows overlap by two tokens, so every token of a document is an input once,
        and the neighbours of a piece of a long document are its targets at both ends.
        """
        return document_windows(
            *documents.ranges, size.source, start_token=True, overlap=_NEIGHBOURS
        )

    def collate(
        self,
        texts: TokenSpans,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        random_source: RandomSource,
    ) -> MicroBatch:
        """Return the tensors: inputs are the windows without the first and the last token.

        The targets are one token later and one token earlier.
        """
        vocabulary = vocabularies.source
        stream, lengths = with_boundary_tokens(texts, vocabulary)
        read = ragged_ranges(exclusive_cumsum(lengths) + 1, lengths - _NEIGHBOURS)
        return MicroBatch(
            tensors={
                **row_tensors(stream[read], placement, pad=vocabulary.special_id("pad")),
                "forward_target_ids": placement.to_grid(stream[read + 1], fill=0),
                "backward_target_ids": placement.to_grid(stream[read - 1], fill=0),
                "target_weights": placement.to_grid(np.ones_like(read), fill=0),
            },
            counts={"predicted": int(read.size)},
            rows=placement.rows,
            examples=int(placement.example.size),
            tokens=int(read.size),
        )

    def _output(self, side: str) -> str:
        """The name of a direction's output layer."""
        return "bilm_unembed" if self.head.shared else f"{side}_unembed"

    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        """Return the head: hidden (B, T, D), targets and weights (B, T) -> sums (3) per direction.

        The sums are loss, negative log likelihood (the same) and hits (correct predictions).
        """
        from ptm.nn.two_streams import SplitStreams

        halves = tuple(f"{side}_hidden" for side in _DIRECTIONS)
        return (
            Operation("bilm_split", SplitStreams, ("hidden",), halves),
            *(step for side in _DIRECTIONS for step in self._predictions(side, shape)),
        )

    def _predictions(self, side: str, shape: ModelShape) -> tuple[Operation, ...]:
        """Return the operations from the hidden states of one direction to its sums."""
        from ptm.nn.embedding import WordEmbedding
        from ptm.nn.heads import BiasVector, Unembedding

        size, output = shape.vocabulary_size, self._output(side)
        matrix = WordEmbedding if self.head.tied else Unembedding
        half = replace(shape, embedding_size=shape.hidden_size // 2)
        hidden, bias = f"{side}_hidden", f"{side}_bias"
        biased = Operation(bias, lambda: BiasVector(size), (hidden,), (bias,), tie=f"{output}_bias")
        loss = Operation(
            f"{side}_loss",
            lambda: matrix(half),
            (hidden, f"{side}_target_ids", "target_weights", *((bias,) * self.head.bias)),
            (f"{side}_sums",),
            tie=shape.word_key if self.head.tied else output,
            options={"smoothing": 0.0},
        )
        return (biased, loss) if self.head.bias else (loss,)

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(f"{side}_sums" for side in _DIRECTIONS)

    def metric_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        forward, _, forward_hits = outputs["forward_sums"].unbind()
        backward, _, backward_hits = outputs["backward_sums"].unbind()
        return {
            "forward_loss": forward,
            "backward_loss": backward,
            "lm_loss": (forward + backward) / 2,
            "forward_accuracy": forward_hits,
            "backward_accuracy": backward_hits,
        }
