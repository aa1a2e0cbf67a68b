"""Index of labelled texts, single or in pairs, cut to fit into rows.

Shapes: E examples, K texts per example (1 or 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ptm.arrays import I64, owner_of, ragged_ranges
from ptm.data.documents import Documents
from ptm.data.examples import Examples, TokenSpans
from ptm.data.two_sides import share_budget
from ptm.errors import UserError
from ptm.store.reader import TokenStore


@dataclass(frozen=True)
class LabelledTexts(Examples):
    """Each example is one or two ranges of tokens (E, K) and a class index (E).

    `cut` (2): number of examples that were cut, and tokens cut off.
    """

    starts: I64
    part_lengths: I64
    labels: I64
    cut: I64

    @property
    def lengths(self) -> I64:
        return np.asarray(self.part_lengths.sum(axis=1))

    def all_labels(self, store: TokenStore) -> I64:
        """The class indexes of all examples, one after another."""
        return self.labels

    @property
    def left_out(self) -> Mapping[str, int]:
        examples, tokens = self.cut.tolist()
        what = f"tokens cut off (examples too long for a row: {examples:,})"
        return {what: tokens} if examples else {}

    def texts(self, store: TokenStore, index: I64) -> TokenSpans:
        parts = np.asarray(self.part_lengths[index])
        ranges = np.asarray(self.starts[index]).ravel(), parts.ravel()
        words = store.word_starts(*ranges) if store.info.has_word_starts else None
        return TokenSpans(store.tokens(*ranges), parts, words, np.asarray(self.labels[index]))


@dataclass(frozen=True)
class MultiLabelledTexts(LabelledTexts):
    """Texts of which each may have several labels, or none.

    `labels` (E): index of each example's document in the store, which has its class indexes. The
    token spans have, for each example and class, whether it is a label (E, C).
    """

    def all_labels(self, store: TokenStore) -> I64:
        found = self._labels(store, np.asarray(self.labels))[0]
        declared = len(store.info.labels or ())
        if found.size and not 0 <= found.min() <= found.max() < declared:
            raise UserError(
                f"{store.folder}: the store contains labels beyond the {declared} that it "
                "declares. The store is damaged. Remove it and run `ptm preprocess RECIPE` again."
            )
        return found

    def texts(self, store: TokenStore, index: I64) -> TokenSpans:
        spans = super().texts(store, index)
        assert spans.labels is not None, "labelled texts have labels"
        classes, counts = self._labels(store, spans.labels)
        chosen = np.zeros((counts.size, len(store.info.labels or ())), dtype=np.int64)
        chosen[owner_of(counts), classes] = 1
        return replace(spans, labels=chosen)

    @staticmethod
    def _labels(store: TokenStore, documents: I64) -> tuple[I64, I64]:
        """The class indexes of some documents, one after another, and the number of each."""
        values, starts, counts = store.integers
        return values[ragged_ranges(starts[documents], counts[documents])], counts[documents]


def fitting_lengths(lengths: I64, longest: int, *, specials_per_text: int) -> I64:
    """Return the tokens to keep of each text (E, K), so that an example has at most `longest`.

    `lengths` (E, K): tokens of each text. `specials_per_text`: special tokens that are added to
    each. The texts of a pair share the rest as `share_budget` says.
    """
    texts = lengths.shape[1]
    room = longest - texts * specials_per_text
    return share_budget(lengths, room) if texts == 2 else np.minimum(lengths, room)


def labelled_texts(
    documents: Documents, longest: int, *, specials: Callable[[int], int]
) -> LabelledTexts:
    """Return one example per document, cut at the end of its texts to fit into a row.

    `longest`: tokens of a row. `specials`: the special tokens of an example by its number of texts.
    The texts of a pair share the row as `share_budget` says.
    """
    sentences = documents.sentences
    texts = int(sentences.counts[0]) if sentences.counts.size else 1
    assert (sentences.counts == texts).all(), "all documents of a labelled store have equal columns"
    lengths = sentences.lengths.reshape(-1, texts)
    kept = fitting_lengths(lengths, longest - specials(texts), specials_per_text=0)
    removed = (lengths - kept).sum(axis=1)
    several = documents.store.info.label_separator is not None
    kind = MultiLabelledTexts if several else LabelledTexts
    return kind(
        starts=sentences.starts.reshape(-1, texts),
        part_lengths=kept,
        labels=documents.indexes if several else documents.labels,
        cut=np.array([(removed > 0).sum(), removed.sum()], dtype=np.int64),
    )
