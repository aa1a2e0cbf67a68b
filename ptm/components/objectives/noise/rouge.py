"""How much of a text some of its sentences tell: ROUGE-1 F1 of them against the rest.

Lin 2004, "ROUGE: a package for automatic evaluation of summaries", on token ids, for all sentences
of a batch at once. Zhang et al. 2019, 1912.08777, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64


@dataclass(frozen=True)
class WordCounts:
    """How often each word stands in each sentence and in each text.

    A pair is a sentence and a word in it; a term is a text and a word in it. `sentence`, `term`,
    `count` (P): of every pair; `text`, `total` (T): of every term. Sentences are numbered
    `text * sentences + k`.
    """

    sentence: I64
    term: I64
    count: I64
    text: I64
    total: I64
    texts: int
    sentences: int

    @classmethod
    def of(cls, tokens: I64, parts: I64) -> WordCounts:
        """Of texts with sentences of `parts` (E, K) tokens, 0 where a text has fewer than K."""
        texts, sentences = parts.shape
        number = np.repeat(np.arange(parts.size), parts.ravel())
        words = int(tokens.max(initial=0)) + 1
        pairs, count = np.unique(number * words + tokens, return_counts=True)
        sentence, word = np.divmod(pairs, words)
        terms, term = np.unique(sentence // sentences * words + word, return_inverse=True)
        total = np.bincount(term, weights=count).astype(np.int64)
        return cls(sentence, term, count, terms // words, total, texts, sentences)

    def scores(self, selected: I64, *, unique: bool) -> NDArray[np.float64]:
        """F1 (E, K) of the selected sentences and one more, against all others.

        `selected` (T): how often each term stands in the sentences that are selected already; the
        score of one of those means nothing. `unique`: words are counted once, as a set.
        """
        chosen = selected[self.term]
        rest = self.total[self.term] - chosen
        more, less = chosen + self.count, rest - self.count
        if not unique:
            # Precision and recall over all words: F1 = 2 * overlap / tokens of the text.
            gain = np.minimum(more, less) - np.minimum(chosen, rest)
            base = self._of_texts(np.minimum(selected, self.total - selected))
            overlap = self._of_sentences(gain) + base
            return np.asarray(2 * overlap / np.maximum(self._of_texts(self.total), 1))
        left = self.total - selected
        overlap = self._of_texts((selected > 0) & (left > 0)) + self._of_sentences(
            (less > 0).astype(np.int64) - ((chosen > 0) & (rest > 0))
        )
        sizes = self._of_texts((selected > 0).astype(np.int64) + (left > 0)) + self._of_sentences(
            (chosen == 0).astype(np.int64) - ((rest > 0) & (less == 0))
        )
        return np.asarray(2 * overlap / np.maximum(sizes, 1))

    def with_sentences(self, selected: I64, flags: NDArray[np.bool_]) -> I64:
        """`selected` (T) and what the flagged sentences (E, K) add to it."""
        new = flags.ravel()[self.sentence]
        added = np.bincount(self.term[new], self.count[new], minlength=self.total.size)
        return selected + added.astype(np.int64)

    def _of_texts(self, values: NDArray[np.int64] | NDArray[np.bool_]) -> NDArray[np.float64]:
        """Sums of values of terms (T): (E, 1)."""
        sums = np.bincount(self.text, values.astype(np.float64), minlength=self.texts)
        return np.asarray(sums[:, None], dtype=np.float64)

    def _of_sentences(self, values: I64) -> NDArray[np.float64]:
        """Sums of values of pairs (P): (E, K)."""
        sums = np.bincount(self.sentence, values, minlength=self.texts * self.sentences)
        return np.asarray(sums.reshape(self.texts, self.sentences), dtype=np.float64)
