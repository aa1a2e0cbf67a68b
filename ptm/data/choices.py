"""Index of questions with several choices each, each choice with the context of its question.

Shapes: E questions, C choices of all questions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64, exclusive_cumsum, ragged_arange, ragged_ranges
from ptm.data.documents import Documents
from ptm.data.examples import Examples, TokenSpans
from ptm.data.labelled import fitting_lengths
from ptm.store.reader import TokenStore


@dataclass(frozen=True)
class Choices(Examples):
    """Each example is a question: as many sequences as it has choices, of a choice and the context.

    `counts` (E): choices of each question. `labels` (E): the number of the right one, from 0.
    `starts`, `part_lengths` (C, 2): ranges of tokens in the store, question with choice and
    context. `cut` (2): choices whose sequence was cut, and tokens cut off.
    """

    counts: I64
    labels: I64
    starts: I64
    part_lengths: I64
    cut: I64

    @property
    def lengths(self) -> I64:
        of_choices = np.asarray(self.part_lengths).sum(axis=1)
        return np.asarray(np.add.reduceat(of_choices, exclusive_cumsum(self.counts)))

    @property
    def left_out(self) -> Mapping[str, int]:
        sequences, tokens = self.cut.tolist()
        what = f"tokens cut off (choices too long with their context: {sequences:,})"
        return {what: tokens} if sequences else {}

    def texts(self, store: TokenStore, index: I64) -> TokenSpans:
        """The sequences of the questions `index`; their labels are 1 for right choices, else 0."""
        counts = np.asarray(self.counts[index])
        at = ragged_ranges(exclusive_cumsum(self.counts)[index], counts)
        parts = np.asarray(self.part_lengths[at])
        tokens = store.tokens(np.asarray(self.starts[at]).ravel(), parts.ravel())
        right = ragged_arange(counts) == np.repeat(np.asarray(self.labels[index]), counts)
        return TokenSpans(tokens, parts, None, right.astype(np.int64))


def choice_questions(documents: Documents, longest: int, *, specials: int) -> Choices:
    """Return one example per document.

    `longest`: tokens of a sequence, with its `specials` special tokens.

    Question with choice and context share a sequence as the texts of a pair do, so that the context
    alone is cut unless the other is longer than half of it.
    """
    sentences = documents.sentences
    context = sentences.first[sentences.owner]
    chosen = np.flatnonzero(np.arange(context.size) != context)
    both = np.stack([chosen, context[chosen]], axis=1)
    lengths = sentences.lengths[both]
    kept = fitting_lengths(lengths, longest - specials, specials_per_text=0)
    removed = (lengths - kept).sum(axis=1)
    return Choices(
        counts=sentences.counts - 1,
        labels=documents.labels,
        starts=sentences.starts[both],
        part_lengths=kept,
        cut=np.array([(removed > 0).sum(), removed.sum()], dtype=np.int64),
    )
