"""Text infilling and sentence permutation: BART (Lewis et al. 2019, 1910.13461, section 2.2)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from ptm.arrays import I64, owner_of
from ptm.components.objectives.denoising import Denoising
from ptm.components.objectives.noise import AnyInfilling, NoisedTexts, infill
from ptm.components.objectives.noise.poisson_infilling import PoissonInfilling
from ptm.data.documents import Documents
from ptm.data.examples import Examples, ExamplesType, TokenSpans
from ptm.data.packing import RowSize
from ptm.data.pairing import check_has_sentences
from ptm.data.sentence_groups import (
    SentenceGroups,
    cut_sentences,
    full_groups,
    split_group_sides,
)
from ptm.rng import U64
from ptm.text.vocabulary import Vocabularies, Vocabulary


class Bart(Denoising):
    """Predict the original text from a noised one."""

    type: Literal["bart"]
    noise: AnyInfilling = PoissonInfilling()

    index_type: ClassVar[ExamplesType] = SentenceGroups
    special_roles: ClassVar[tuple[str, ...]] = ("pad", "eos", "mask")
    needs_sentences: ClassVar[bool] = True

    def row_lengths(self, examples: Examples) -> I64:
        return self.add_max_specials(split_group_sides(examples))

    @property
    def index_key(self) -> str:
        return f"sentences{self.index_suffix}"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Return groups of neighbouring sentences of a document, as many as fit both sides.

        Raises UserError if noise permutes sentences but no document has two.
        """
        if self.noise.permute_sentences and not documents.held_out:
            check_has_sentences(
                documents,
                documents.sentences,
                needed="several sentences per document, to permute them "
                "(objective.noise.permute_sentences)",
            )
        longest = min(
            size.source - self.max_specials.source, size.target - self.max_specials.target
        )
        sentences = cut_sentences(documents.sentences, longest)
        groups = full_groups(sentences, longest)
        parts = groups.lengths(sentences)
        owner = owner_of(groups.counts)
        lengths = np.bincount(owner, weights=parts, minlength=groups.counts.size).astype(np.int64)
        sides = self.noise.longest_sides(lengths)
        return SentenceGroups(
            starts=sentences.starts[groups.first],
            ends=np.cumsum(groups.counts),
            sentences=parts,
            source=sides[:, 0],
            target=sides[:, 1],
            counts=np.zeros(4, dtype=np.int64),
        )

    def noised(self, texts: TokenSpans, keys: U64, vocabulary: Vocabulary) -> NoisedTexts:
        """Return the text with shuffled sentences and masked spans, and the original text."""
        mask_id = vocabulary.special_id("mask")
        return infill(texts.tokens, texts.part_lengths, self.noise, keys, mask_id=mask_id)
