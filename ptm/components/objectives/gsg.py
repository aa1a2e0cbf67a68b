"""Gap sentences: PEGASUS (Zhang et al. 2019, 1912.08777, section 3.1)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ptm.arrays import I64
from ptm.components.objectives.denoising import AROUND, Denoising, with_specials
from ptm.components.objectives.noise import Noised
from ptm.components.objectives.noise.gaps import (
    gap_counts,
    lead_sentences,
    longest_gap_sides,
    principal_sentences,
    random_sentences,
    without_gaps,
)
from ptm.data.documents import Documents
from ptm.data.examples import Examples, ExamplesType, Texts
from ptm.data.packing import RowSize
from ptm.data.pairing import refuse_unstructured
from ptm.data.sentence_groups import (
    SentenceGroups,
    cut_sentences,
    full_groups,
    kept_company,
    sides_of_groups,
    without_lonely,
)
from ptm.errors import UserError
from ptm.rng import U64
from ptm.text.vocabulary import Vocabularies, Vocabulary

GAP_MARKS = ("[MASK1]", "<mask_1>")
"""Tokens that stand for a sentence where a vocabulary has them."""


class Gsg(Denoising):
    """Give the sentences that are missing."""

    type: Literal["gsg"]
    selection: Literal["lead", "random", "principal"] = "principal"
    """lead: the first sentences; random; principal: those that tell most of the others."""
    rate: Annotated[float, Field(gt=0, le=0.5)] = 0.3
    """Share of the sentences that is taken out; one at least, never all."""
    sequential: bool = False
    """Whether principal sentences are chosen one after another, together scoring best (Seq),
    instead of each by its own score (Ind)."""
    unique: bool = False
    """Whether principal sentences are scored with a word counted once (Uniq; else Orig)."""

    index_type: ClassVar[ExamplesType] = SentenceGroups
    special_roles: ClassVar[tuple[str, ...]] = ("pad", "sep", "mask")
    needs_sentences: ClassVar[bool] = True
    shortest_row: ClassVar[int] = AROUND.source + 2

    @model_validator(mode="after")
    def _options_are_used(self) -> Gsg:
        if self.selection != "random" and self.duplicates > 1:
            raise ValueError(
                f"duplicates = {self.duplicates} has no meaning with selection: {self.selection}, "
                "which always takes the same sentences; leave it out, or set selection: random"
            )
        for name in ("sequential", "unique"):
            if getattr(self, name) and self.selection != "principal":
                raise ValueError(
                    f"{name} = true is about principal sentences, and selection is "
                    f"{self.selection}; leave it out"
                )
        return self

    def row_lengths(self, examples: Examples) -> I64:
        """The most tokens of both sides, whichever sentences are taken."""
        return with_specials(sides_of_groups(examples))

    @property
    def index_key(self) -> str:
        """Which sentences are taken is decided later, how many are not."""
        return f"gsg-{self.rate!r}"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Whole sentences of a document, as many as fit both sides, two at least.

        Sentences that are alone in their document are left out, and a last one of which nothing
        can be made with its neighbours. Raises UserError where no document has two sentences.
        """
        refuse_unstructured(documents, documents.sentences, lacking="sentences to take out")
        room = RowSize(size.source - AROUND.source, size.target - AROUND.target)
        sentences = cut_sentences(documents.sentences, self._longest_sentence(room))
        groups = kept_company(sentences, full_groups(sentences, room.source))
        groups, left_out = without_lonely(sentences, groups)
        while True:
            parts = groups.lengths(sentences)
            sides = longest_gap_sides(parts, groups.counts, self.rate)
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

    def noised(self, texts: Texts, keys: U64, vocabulary: Vocabulary) -> Noised:
        """Sentences become masks on the one side, and stand one after another on the other."""
        marks = [mark for mark in GAP_MARKS if mark in vocabulary.ids]
        mask_id = vocabulary.ids[marks[0]] if marks else vocabulary.special_id("mask")
        return without_gaps(texts.tokens, texts.parts, self._gaps(texts, keys), mask_id=mask_id)

    def _gaps(self, texts: Texts, keys: U64) -> NDArray[np.bool_]:
        """Which sentences (E, K) are taken out."""
        if self.selection == "lead":
            return lead_sentences(texts.parts, self.rate)
        if self.selection == "random":
            return random_sentences(texts.parts, self.rate, keys)
        return principal_sentences(
            texts.tokens,
            texts.parts,
            self.rate,
            sequential=self.sequential,
            unique=self.unique,
        )

    def _longest_sentence(self, room: RowSize) -> int:
        """Of sentences no longer than this any two fit a row, and what is taken out of any three.

        Hence a group that is too long has four or more, and each half of it two.
        """
        of_three = int(gap_counts(np.array([3]), self.rate)[0])
        longest = min(room.source // 2, room.target // of_three)
        if longest < 1:
            raise UserError(
                f"data.target_sequence_length = {room.target + AROUND.target} has no room for a "
                "sentence: raise it."
            )
        return longest
