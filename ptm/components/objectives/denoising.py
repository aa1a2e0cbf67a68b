"""Parts shared by T5, BART and PEGASUS: the decoder reconstructs what noise removed from a text.

The encoder reads [CLS] source [SEP]. The decoder reads [CLS] target and predicts target [SEP]. With
a vocabulary without [CLS], nothing precedes the source, and [PAD] precedes the target, as in
transformers' T5. `decoder_start` and `target_bos` change what the decoder reads first,
`force_bos` what it reads first in generation.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.components.objectives.base import MicroBatch, Prompt, RandomSource
from ptm.components.objectives.decoder_start import DecoderStart
from ptm.components.objectives.next_tokens import NextTokenObjective, target_tensors
from ptm.components.objectives.noise import NoisedTexts
from ptm.components.objectives.redraw import Redraw
from ptm.data.examples import TokenSpans
from ptm.data.packing import RowSize
from ptm.data.placement import DECODER, Placement, row_tensors
from ptm.rng import U64, seed_of, stream_keys
from ptm.text.vocabulary import Vocabularies, Vocabulary

SOURCE_SPECIALS = 2
"""The maximum number of special tokens of a source."""


class Denoising(Redraw, DecoderStart, NextTokenObjective):
    """Base class: predict what noise removed from a text."""

    layouts: ClassVar[tuple[str, ...]] = ("sentences", "documents")
    visibilities: ClassVar[tuple[str, ...]] = ("full",)
    needs_decoder: ClassVar[bool] = True

    add_bos: bool = True
    """Whether a source begins with the bos token, if the vocabulary has one. transformers' T5
    reads sources without it."""

    @property
    def boundary_roles(self) -> tuple[str | None, str | None]:  # type: ignore[override]
        """The roles of the special tokens before and after a source."""
        return ("bos" if self.add_bos else None, "eos")

    @property
    def max_specials(self) -> RowSize:
        """The maximum number of special tokens on each side."""
        return RowSize(source=SOURCE_SPECIALS, target=self.target_specials)

    def add_max_specials(self, sides: I64) -> I64:
        """Add the maximum number of special tokens to the lengths of source and target (E, 2)."""
        return np.asarray(sides + np.array([self.max_specials.source, self.max_specials.target]))

    def check_vocabulary(self, vocabulary: Vocabulary, size: RowSize) -> None:
        """Raise UserError if the vocabulary lacks tokens that rows of this size need."""
        super().check_vocabulary(vocabulary, size)
        self.start_ids(vocabulary)

    def source_start(self, vocabulary: Vocabulary) -> tuple[int, ...]:
        """The ids before the text of a source."""
        begins = self.add_bos and vocabulary.has("bos")
        return (vocabulary.special_id("bos"),) if begins else ()

    @abstractmethod
    def noised(self, texts: TokenSpans, keys: U64, vocabulary: Vocabulary) -> NoisedTexts:
        """Return source and target of the texts; `keys` (E): one random stream per text."""

    def collate(
        self,
        texts: TokenSpans,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        random_source: RandomSource,
    ) -> MicroBatch:
        """Return the tensors of both sides, with the noise of each example's epoch."""
        seed = seed_of(random_source.seed, "noise", random_source.purpose)
        keys = stream_keys(seed, self.variant_of(placement.epoch), placement.example)
        noised = self.noised(texts, keys, vocabularies.source)
        vocabulary = vocabularies.source
        return _encoder_decoder_batch(
            noised,
            placement,
            vocabulary,
            source_start=self.source_start(vocabulary),
            start=self.start_ids(vocabulary),
        )

    def prompt(self, text: Sequence[int], vocabularies: Vocabularies) -> Prompt | None:
        """Return the text as encoder input and the first tokens of the decoder."""
        vocabulary = vocabularies.source
        return Prompt(
            begin=self.given_ids(vocabulary),
            source=(*self.source_start(vocabulary), *text, vocabulary.special_id("eos")),
        )


def _encoder_decoder_batch(
    noised: NoisedTexts,
    placement: Placement,
    vocabulary: Vocabulary,
    *,
    source_start: tuple[int, ...],
    start: tuple[int, ...],
) -> MicroBatch:
    """Return the tensors of both sides: encoder input, decoder input and its targets.

    `source_start`: the ids before the source; `start`: those that the decoder reads before the
    target.
    """
    pad, end = vocabulary.special_id("pad"), vocabulary.special_id("eos")
    source, source_lengths = add_affixes(
        noised.source, noised.source_lengths, before=source_start, after=(end,)
    )
    read, target_lengths = add_affixes(noised.target, noised.target_lengths, before=start)
    given, _ = add_affixes(noised.target, noised.target_lengths, before=start[1:], after=(end,))
    source_placement = placement.side(source_lengths, placement.columns)
    target_placement = placement.side(target_lengths, placement.target_columns)
    return MicroBatch(
        tensors={
            **row_tensors(source, source_placement, pad=pad),
            **row_tensors(read, target_placement, pad=pad, side=DECODER),
            **target_tensors(given, np.ones_like(given), target_placement),
        },
        counts={"predicted": int(given.size)},
        rows=placement.rows,
        examples=int(placement.example.size),
        tokens=int(source.size + read.size),
    )


def add_affixes(
    tokens: I64, lengths: I64, *, before: tuple[int, ...] = (), after: tuple[int, ...] = ()
) -> tuple[I64, I64]:
    """Return every text with the tokens `before` and `after` added, and the new lengths (E)."""
    longer = lengths + len(before) + len(after)
    first = exclusive_cumsum(longer)
    found = np.empty(int(longer.sum()), dtype=np.int64)
    found[ragged_ranges(first + len(before), lengths)] = tokens
    for offset, token in enumerate(before):
        found[first + offset] = token
    for offset, token in enumerate(after):
        found[first + len(before) + lengths + offset] = token
    return found, longer
