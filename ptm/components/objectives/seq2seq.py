"""Translation and other text-to-text tasks (Vaswani et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.components.objectives.base import Metric, MicroBatch, Prompt, RandomSource
from ptm.components.objectives.decoder_start import DecoderStart
from ptm.components.objectives.denoising import add_affixes
from ptm.components.objectives.next_tokens import (
    NEXT_METRICS,
    NextTokenObjective,
    next_token_operations,
    target_tensors,
)
from ptm.data.documents import Documents
from ptm.data.examples import Examples, ExamplesType, TokenSpans
from ptm.data.packing import RowSize
from ptm.data.placement import DECODER, Placement, row_tensors
from ptm.data.two_sides import SourceTargetPairs, side_lengths, split_sides, truncate
from ptm.nn.model_shape import ModelShape
from ptm.plan import Operation
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    from torch import Tensor

_SOURCE_SPECIALS = 2
"""The encoder reads [CLS] source [SEP]."""


class Seq2Seq(DecoderStart, NextTokenObjective):
    """Predict every target token in a decoder, from the source and the earlier target tokens."""

    type: Literal["seq2seq"]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of every target that is spread over the vocabulary (Vaswani et al. 2017, section
    5.4)."""

    metrics: ClassVar[tuple[Metric, ...]] = (*NEXT_METRICS, Metric("lm_nll", count="predicted"))
    index_type: ClassVar[ExamplesType] = SourceTargetPairs
    layouts: ClassVar[tuple[str, ...]] = ("pairs",)
    visibilities: ClassVar[tuple[str, ...]] = ("full",)
    special_roles: ClassVar[tuple[str, ...]] = ("pad", "bos", "eos")
    boundary_roles: ClassVar[tuple[str | None, str | None]] = ("bos", "eos")
    perplexity_of: ClassVar[str | None] = "lm_nll"
    needs_decoder: ClassVar[bool] = True

    def row_lengths(self, examples: Examples) -> I64:
        assert isinstance(examples, SourceTargetPairs), "the examples are not source-target pairs"
        return np.asarray(examples.sides + self._specials)

    @property
    def index_key(self) -> str:
        return f"seq2seq{self.index_suffix}"

    @property
    def _specials(self) -> I64:
        """Special tokens per side (2)."""
        return np.array([_SOURCE_SPECIALS, self.target_specials])

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Return all pairs; a side that is too long for its row is cut at its end."""
        sentences = documents.sentences
        longest = np.array([size.source, size.target]) - self._specials
        return truncate(sentences, np.minimum(side_lengths(sentences), longest))

    def collate(
        self,
        texts: TokenSpans,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        random_source: RandomSource,
    ) -> MicroBatch:
        """Return the tensors of encoder ([CLS] source [SEP]) and decoder (start target [SEP])."""
        sources, targets = split_sides(texts)
        begin, start = vocabularies.source.special_id("bos"), self.start_ids(vocabularies.target)
        ends = [one.special_id("eos") for one in (vocabularies.source, vocabularies.target)]
        source, _ = add_affixes(sources.tokens, sources.lengths, before=(begin,), after=(ends[0],))
        stream, lengths = add_affixes(
            targets.tokens, targets.lengths, before=start, after=(ends[1],)
        )
        # The decoder reads start and target; its targets are one token later.
        read = ragged_ranges(exclusive_cumsum(lengths), lengths - 1)
        decoder = placement.side(lengths - 1, placement.target_columns)
        pads = [one.special_id("pad") for one in (vocabularies.source, vocabularies.target)]
        return MicroBatch(
            tensors={
                **row_tensors(source, placement, pad=pads[0]),
                **row_tensors(stream[read], decoder, pad=pads[1], side=DECODER),
                **target_tensors(stream[read + 1], np.ones_like(read), decoder),
            },
            counts={"predicted": int(read.size)},
            rows=placement.rows,
            examples=int(placement.example.size),
            tokens=int(source.size + read.size),
        )

    def prompt(self, text: Sequence[int], vocabularies: Vocabularies) -> Prompt | None:
        """Return [CLS] text [SEP] for the encoder and the start for the decoder."""
        source = vocabularies.source
        return Prompt(
            begin=self.given_ids(vocabularies.target),
            source=(source.special_id("bos"), *text, source.special_id("eos")),
        )

    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        """Return the head: hidden (B, T, D) -> sums of loss, NLL and hits, or logits (B, T, V)."""
        return next_token_operations(self.head, shape, smoothing=self.label_smoothing)

    def metric_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return loss (with label smoothing), hits and NLL (without), summed over all targets."""
        return {**super().metric_sums(outputs, tensors), "lm_nll": outputs["lm_sums"][1]}
