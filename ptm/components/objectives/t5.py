"""Span corruption: T5 (Raffel et al. 2019, 1910.10683, sections 3.1.4 and 3.3.4) and T5 1.1."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from ptm.arrays import I64
from ptm.components.objectives.denoising import AROUND, Denoising, with_specials
from ptm.components.objectives.noise import AnySpanNoise, Noised, corrupted
from ptm.components.objectives.noise.t5_spans import PaperSpans
from ptm.data.documents import Documents
from ptm.data.examples import (
    Examples,
    ExamplesType,
    Joined,
    Pieces,
    Texts,
    cut_documents,
    join_documents,
)
from ptm.data.packing import RowSize
from ptm.errors import UserError
from ptm.rng import U64
from ptm.text.vocabulary import Vocabularies, Vocabulary


class T5(Denoising):
    """Give the spans that sentinels stand for."""

    type: Literal["t5"]
    noise: AnySpanNoise = PaperSpans()
    full_sentences: bool = False
    """Join all documents and fill every row, instead of one document an example. [CLS] stands
    between them where the vocabulary has one: the end token means that all is said."""

    layouts: ClassVar[tuple[str, ...]] = ("documents", "sentences")
    special_roles: ClassVar[tuple[str, ...]] = ("pad", "sep")
    shortest_row: ClassVar[int] = AROUND.source + 2

    def refuse_unfit(self, vocabulary: Vocabulary, size: RowSize) -> None:
        """Raise UserError where the vocabulary has too few sentinels for the longest text."""
        super().refuse_unfit(vocabulary, size)
        needed = int(self.noise.most_sentinels(np.array([self._longest(size)]))[0])
        there = vocabulary.sentinels.size
        if there < needed:
            has = f"only {there} sentinels" if there else "no sentinels"
            raise UserError(
                f"{vocabulary.source}: the vocabulary has {has} (<extra_id_0>, <extra_id_1> …), "
                f"but texts of data.sequence_length = {size.source} need up to {needed} under "
                f"objective.noise = {self.noise.spans}. Add them to the vocabulary, or shorten the "
                "sequences."
            )

    def row_lengths(self, examples: Examples) -> I64:
        """Both sides, sentinels and special tokens included."""
        return with_specials(self.noise.longest_sides(np.asarray(examples.lengths)))

    @property
    def index_type(self) -> ExamplesType:  # type: ignore[override]
        """One of documents that are joined, or one of each by itself."""
        return Joined if self.full_sentences else Pieces

    @property
    def index_key(self) -> str:
        """How documents are cut depends on how long noise makes them; it is drawn later."""
        options = "-".join(str(value) for value in self.noise.model_dump().values())
        return f"t5-{'joined' if self.full_sentences else 'pieces'}-{options}"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Documents cut into pieces that fit both sides, or joined before they are cut."""
        longest = self._longest(size)
        if self.full_sentences:
            vocabulary = vocabularies.source
            separator = vocabulary.special_id("cls" if vocabulary.has("cls") else "sep")
            return join_documents(*documents.ranges, longest, separator=separator)
        return cut_documents(*documents.ranges, longest)

    def noised(self, texts: Texts, keys: U64, vocabulary: Vocabulary) -> Noised:
        """Spans of noise become sentinels on the one side, and stand after them on the other."""
        spans = self.noise.draw(texts.lengths, keys)
        return corrupted(texts.tokens, texts.lengths, spans, vocabulary.sentinels)

    def _longest(self, size: RowSize) -> int:
        """The longest text that fits both sides. Raises UserError where not two tokens do."""
        # Every token is on one of the sides.
        lengths = np.arange(1, size.source + size.target)
        room = [size.source - AROUND.source, size.target - AROUND.target]
        fits = (self.noise.longest_sides(lengths) <= room).all(axis=1)
        longest = int(np.argmin(fits))
        if longest < 2:
            raise UserError(
                f"data.target_sequence_length = {size.target} has no room for the noise of a text "
                f"of two tokens, at data.sequence_length = {size.source}: raise them."
            )
        return longest
