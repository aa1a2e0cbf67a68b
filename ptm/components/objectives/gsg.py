"""Gap sentence generation: PEGASUS (Zhang et al. 2019, 1912.08777, section 3.1)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ptm.arrays import I64
from ptm.components.objectives.denoising import SOURCE_SPECIALS, Denoising
from ptm.components.objectives.noise import NoisedTexts
from ptm.components.objectives.noise.gaps import (
    gap_counts,
    lead_sentences,
    max_gap_side_lengths,
    principal_sentences,
    random_sentences,
    remove_sentences,
)
from ptm.data.documents import Documents
from ptm.data.examples import Examples, ExamplesType, TokenSpans
from ptm.data.packing import RowSize
from ptm.data.pairing import check_has_sentences
from ptm.data.sentence_groups import (
    SentenceGroups,
    cut_sentences,
    drop_single_sentences,
    full_groups,
    merge_single_sentences,
    split_group_sides,
)
from ptm.errors import UserError
from ptm.rng import U64
from ptm.text.vocabulary import Vocabularies, Vocabulary

GAP_TOKENS = ("[MASK1]", "<mask_1>")
"""Tokens that replace a sentence; the mask token is used if the vocabulary has neither."""


class Gsg(Denoising):
    """Predict the sentences that were removed from a text."""

    type: Literal["gsg"]
    selection: Literal["lead", "random", "principal"] = "principal"
    """The sentences to remove. lead: the first; random: random ones; principal: those with the best
    ROUGE-1 F1 against the rest of the text."""
    rate: Annotated[float, Field(gt=0, le=0.5)] = 0.3
    """Share of the sentences that is removed; at least one, never all."""
    sequential: bool = False
    """Choose principal sentences one after another, so that together they score best (Seq),
    instead of scoring each independently (Ind)."""
    unique: bool = False
    """Count every distinct token once in the scores of principal sentences (Uniq; else Orig)."""

    index_type: ClassVar[ExamplesType] = SentenceGroups
    special_roles: ClassVar[tuple[str, ...]] = ("pad", "eos", "mask")
    needs_sentences: ClassVar[bool] = True
    min_sequence_length: ClassVar[int] = SOURCE_SPECIALS + 2

    @model_validator(mode="after")
    def _check_options(self) -> Gsg:
        if self.selection != "random" and self.duplicates > 1:
            raise ValueError(
                f"duplicates = {self.duplicates} has no effect with selection: {self.selection}, "
                "which always removes the same sentences. Remove duplicates or set selection: "
                "random."
            )
        for name in ("sequential", "unique"):
            if getattr(self, name) and self.selection != "principal":
                raise ValueError(
                    f"{name} = true needs selection: principal, but selection is "
                    f"{self.selection}. Remove {name}."
                )
        return self

    def row_lengths(self, examples: Examples) -> I64:
        return self.add_max_specials(split_group_sides(examples))

    @property
    def index_key(self) -> str:
        # The sentences are chosen later, but the rate decides how many fit a row.
        return f"gsg-{self.rate!r}{self.index_suffix}"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Return groups of two or more neighbouring sentences, as many as fit both sides.

        Left out and counted: documents of one sentence, and last sentences of a document that fit
        no group. Raises UserError if no document has two sentences.
        """
        check_has_sentences(documents, documents.sentences, needed="sentences to remove")
        room = RowSize(
            size.source - self.max_specials.source, size.target - self.max_specials.target
        )
        sentences = cut_sentences(documents.sentences, self._longest_sentence(room))
        groups = merge_single_sentences(sentences, full_groups(sentences, room.source))
        groups, left_out = drop_single_sentences(sentences, groups)
        # Halve groups until the longest possible target of each fits. `_longest_sentence` makes
        # sure that no half has a single sentence.
        while True:
            parts = groups.lengths(sentences)
            sides = max_gap_side_lengths(parts, groups.counts, self.rate)
            too_long = sides[:, 1] > room.target
            if not too_long.any():
                break
            groups = groups.halved(too_long)
        return SentenceGroups(
            starts=sentences.starts[groups.first],
            ends=np.cumsum(groups.counts),
            sentences=parts,
            source=sides[:, 0],
            target=sides[:, 1],
            counts=left_out,
        )

    def noised(self, texts: TokenSpans, keys: U64, vocabulary: Vocabulary) -> NoisedTexts:
        """Return the text with a mask token per removed sentence, and the removed sentences."""
        marks = [mark for mark in GAP_TOKENS if mark in vocabulary.ids]
        mask_id = vocabulary.ids[marks[0]] if marks else vocabulary.special_id("mask")
        return remove_sentences(
            texts.tokens, texts.part_lengths, self._selected_sentences(texts, keys), mask_id=mask_id
        )

    def _selected_sentences(self, texts: TokenSpans, keys: U64) -> NDArray[np.bool_]:
        """Return flags (E, K) of the sentences to remove; K is the maximum per text."""
        if self.selection == "lead":
            return lead_sentences(texts.part_lengths, self.rate)
        if self.selection == "random":
            return random_sentences(texts.part_lengths, self.rate, keys)
        return principal_sentences(
            texts.tokens,
            texts.part_lengths,
            self.rate,
            sequential=self.sequential,
            unique=self.unique,
        )

    def _longest_sentence(self, room: RowSize) -> int:
        """Return the length to which sentences are cut.

        Any two sentences of this length fit the source, and the sentences removed from any three
        fit the target. Hence a group that is too long has four or more, and each half at least two.
        Raises UserError if no sentence fits.
        """
        of_three = int(gap_counts(np.array([3]), self.rate)[0])
        longest = min(room.source // 2, room.target // of_three)
        if longest < 1:
            length = room.target + self.max_specials.target
            raise UserError(
                f"data.target_sequence_length = {length} has no room for a sentence. Increase "
                "data.target_sequence_length."
            )
        return longest
