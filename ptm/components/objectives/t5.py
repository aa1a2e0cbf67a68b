"""Span corruption: T5 (Raffel et al. 2019, 1910.10683, sections 3.1.4 and 3.3.4) and T5 1.1."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from ptm.arrays import I64
from ptm.components.objectives.denoising import SOURCE_SPECIALS, Denoising
from ptm.components.objectives.noise import AnySpanNoise, NoisedTexts, corrupt_spans
from ptm.components.objectives.noise.t5_spans import T5Spans
from ptm.data.documents import Documents
from ptm.data.examples import (
    ConcatenatedDocuments,
    DocumentChunks,
    Examples,
    ExamplesType,
    TokenSpans,
    chunk_documents,
    concatenate_documents,
)
from ptm.data.packing import RowSize
from ptm.errors import UserError
from ptm.rng import U64
from ptm.text.vocabulary import Vocabularies, Vocabulary


class T5(Denoising):
    """Predict the spans that sentinels replace."""

    type: Literal["t5"]
    noise: AnySpanNoise = T5Spans()
    concatenate: bool = False
    """Join all documents and fill every row, instead of one document per example. The separator is
    [CLS] if the vocabulary has it, since the end token [SEP] marks the end of the output."""

    layouts: ClassVar[tuple[str, ...]] = ("documents", "sentences")
    special_roles: ClassVar[tuple[str, ...]] = ("pad", "eos")
    min_sequence_length: ClassVar[int] = SOURCE_SPECIALS + 2

    def check_vocabulary(self, vocabulary: Vocabulary, size: RowSize) -> None:
        """Raise UserError if the vocabulary has too few sentinels for the longest text."""
        super().check_vocabulary(vocabulary, size)
        needed = int(self.noise.max_sentinels(np.array([self._longest(size)]))[0])
        available = vocabulary.sentinels.size
        if available < needed:
            has = (
                f"only {available} sentinel{'s' * (available > 1)}" if available else "no sentinels"
            )
            raise UserError(
                f"{vocabulary.source}: the vocabulary has {has} (<extra_id_0>, <extra_id_1> …), "
                f"but texts of data.sequence_length = {size.source} need up to {needed} with "
                f"objective.noise.spans = {self.noise.spans}. Add sentinels to the vocabulary or "
                "reduce data.sequence_length."
            )

    def row_lengths(self, examples: Examples) -> I64:
        return self.add_max_specials(self.noise.max_side_lengths(np.asarray(examples.lengths)))

    @property
    def index_type(self) -> ExamplesType:  # type: ignore[override]
        return ConcatenatedDocuments if self.concatenate else DocumentChunks

    @property
    def index_key(self) -> str:
        # Noise is drawn later, but its options decide how long a text may be. Caches of format 1
        # have the kind's former name in their key, and are still read.
        values = self.noise.model_dump()
        if values["spans"] == "t5":
            values["spans"] = "paper"
        options = "-".join(str(value) for value in values.values())
        return f"t5-{'joined' if self.concatenate else 'pieces'}-{options}{self.index_suffix}"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Cut documents into chunks whose noised source and target fit a row.

        With `concatenate`, the documents are joined first. Raises UserError if the row size has no
        room for a text of two tokens after noise.
        """
        longest = self._longest(size)
        if self.concatenate:
            vocabulary = vocabularies.source
            separator = vocabulary.special_id("bos" if vocabulary.has("bos") else "eos")
            return concatenate_documents(*documents.ranges, longest, separator=separator)
        return chunk_documents(*documents.ranges, longest)

    def noised(self, texts: TokenSpans, keys: U64, vocabulary: Vocabulary) -> NoisedTexts:
        """Return the text with sentinels for its noise spans, and each sentinel with its span."""
        spans = self.noise.draw(texts.lengths, keys)
        return corrupt_spans(texts.tokens, texts.lengths, spans, vocabulary.sentinels)

    def _longest(self, size: RowSize) -> int:
        """Return the length of the longest text that fits both sides after noise.

        Raises UserError if a text of two tokens does not fit.
        """
        # Every token of a text is on one of the sides, so no longer text can fit.
        lengths = np.arange(1, size.source + size.target)
        room = [
            size.source - self.max_specials.source,
            size.target - self.max_specials.target,
        ]
        fits = (self.noise.max_side_lengths(lengths) <= room).all(axis=1)
        longest = int(np.argmin(fits))
        if longest < 2:
            raise UserError(
                f"data.target_sequence_length = {size.target} with data.sequence_length = "
                f"{size.source} has no room for a text of two tokens after noise. Increase both."
            )
        return longest
