"""Prefix language modelling: attention is bidirectional in the source, causal in the target.

Dong et al. 2019 (UniLM, section 2.3, sequence-to-sequence), Raffel et al. 2019 (section 3.2.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.components.objectives.base import MicroBatch, Prompt, RandomSource
from ptm.components.objectives.masked_tokens import add_special_tokens
from ptm.components.objectives.next_tokens import NextTokenObjective, target_tensors
from ptm.data.documents import Documents
from ptm.data.examples import Examples, ExamplesType, TokenSpans
from ptm.data.packing import RowSize
from ptm.data.placement import Placement, row_tensors
from ptm.data.two_sides import SourceTargetPairs, share_budget, side_lengths, truncate
from ptm.nn.model_shape import PREFIX_SEGMENT
from ptm.text.vocabulary import Vocabularies

_NUM_SPECIALS = 2
"""Special tokens in the input [CLS] source [SEP] target; the last [SEP] is only a target."""


class PrefixLm(NextTokenObjective):
    """Predict every target token from the source and the preceding target tokens."""

    type: Literal["prefixlm"]

    index_type: ClassVar[ExamplesType] = SourceTargetPairs
    layouts: ClassVar[tuple[str, ...]] = ("pairs",)
    visibilities: ClassVar[tuple[str, ...]] = ("prefix",)
    special_roles: ClassVar[tuple[str, ...]] = ("pad", "bos", "eos")
    boundary_roles: ClassVar[tuple[str | None, str | None]] = ("bos", "eos")
    segments: ClassVar[int] = 2
    min_sequence_length: ClassVar[int] = _NUM_SPECIALS + 2

    def row_lengths(self, examples: Examples) -> I64:
        return np.asarray(examples.lengths)[:, None] + _NUM_SPECIALS

    @property
    def index_key(self) -> str:
        return "prefixlm"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Return all pairs; if a pair is too long for a row, its sides are cut at their ends."""
        sentences = documents.sentences
        return truncate(
            sentences, share_budget(side_lengths(sentences), size.source - _NUM_SPECIALS)
        )

    def collate(
        self,
        texts: TokenSpans,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        random_source: RandomSource,
    ) -> MicroBatch:
        """Return the tensors: input [CLS] source [SEP] target, loss over target [SEP].

        The source and its special tokens are the first segment.
        """
        vocabulary = vocabularies.source
        whole, segments = add_special_tokens(texts, vocabulary)
        lengths = texts.lengths + _NUM_SPECIALS + 1
        # All tokens of an example but the last are input; the next token is the target.
        read = ragged_ranges(exclusive_cumsum(lengths), lengths - 1)
        weights = (segments[read + 1] != PREFIX_SEGMENT).astype(np.int64)
        pad = vocabulary.special_id("pad")
        return MicroBatch(
            tensors={
                **row_tensors(whole.ids[read], placement, pad=pad, segments=segments[read]),
                **target_tensors(whole.ids[read + 1], weights, placement),
            },
            counts={"predicted": int(weights.sum())},
            rows=placement.rows,
            examples=int(placement.example.size),
            tokens=int(read.size),
        )

    def prompt(self, text: Sequence[int], vocabularies: Vocabularies) -> Prompt | None:
        """Return [CLS] text [SEP] as the first segment."""
        vocabulary = vocabularies.source
        return Prompt(
            begin=(vocabulary.special_id("bos"), *text, vocabulary.special_id("eos")),
            segment=PREFIX_SEGMENT,
            next_segment=PREFIX_SEGMENT + 1,
        )
