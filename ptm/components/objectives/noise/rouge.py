"""ROUGE-1 F1 of some sentences of a text against its other sentences.

Lin 2004, "ROUGE: a package for automatic evaluation of summaries", on token ids, vectorised over
all sentences of a batch. Zhang et al. 2019, 1912.08777, section 3.1.

Shapes: E texts, K sentences per text at most, N tokens, P pairs, T terms (see `WordCounts`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64


@dataclass(frozen=True)
class WordCounts:
    """How often each word occurs in each sentence and in each text.

    A pair is a distinct (sentence, word); a term is a distinct (text, word). For every pair (P):
    its `sentence`, its `term` and its `count` in the sentence. For every term (T): its `text` and
    its `total` in the text. `texts` = E, `sentences` = K; sentences are numbered `text * K + k`.
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
        """Count `tokens` (N) of texts with sentences of `parts` (E, K) tokens, 0 after the last."""
        texts, sentences = parts.shape
        number = np.repeat(np.arange(parts.size), parts.ravel())
        # A pair is encoded as sentence * words + word, a term as text * words + word.
        words = int(tokens.max(initial=0)) + 1
        pairs, count = np.unique(number * words + tokens, return_counts=True)
        sentence, word = np.divmod(pairs, words)
        terms, term = np.unique(sentence // sentences * words + word, return_inverse=True)
        total = np.bincount(term, weights=count).astype(np.int64)
        return cls(sentence, term, count, terms // words, total, texts, sentences)

    def scores(self, selected: I64, *, unique: bool) -> NDArray[np.float64]:
        """Return F1 (E, K) of the selected sentences plus one more sentence, against all others.

        `selected` (T): count of each term in the sentences selected so far; the scores of these
        sentences are meaningless. `unique`: every distinct word is counted once.
        """
        # For every pair: the count of its word in the selection (`chosen`) and in the rest, now
        # and after its sentence moves from the rest to the selection (`more`, `less`).
        chosen = selected[self.term]
        rest = self.total[self.term] - chosen
        more, less = chosen + self.count, rest - self.count
        if not unique:
            # F1 = 2 * overlap / (tokens of selection and rest), and these are all tokens of the
            # text. The overlap is `base` before the move, and changes by `gain`.
            gain = np.minimum(more, less) - np.minimum(chosen, rest)
            base = self._sum_per_text(np.minimum(selected, self.total - selected))
            overlap = self._sum_per_sentence(gain) + base
            return np.asarray(2 * overlap / np.maximum(self._sum_per_text(self.total), 1))
        # As above, with sets: the overlap is the number of words on both sides, the denominator
        # the sum of the two set sizes. Each is its value before the move plus the change by it.
        left = self.total - selected
        overlap = self._sum_per_text((selected > 0) & (left > 0)) + self._sum_per_sentence(
            (less > 0).astype(np.int64) - ((chosen > 0) & (rest > 0))
        )
        sizes = self._sum_per_text(
            (selected > 0).astype(np.int64) + (left > 0)
        ) + self._sum_per_sentence((chosen == 0).astype(np.int64) - ((rest > 0) & (less == 0)))
        return np.asarray(2 * overlap / np.maximum(sizes, 1))

    def add_sentences(self, selected: I64, flags: NDArray[np.bool_]) -> I64:
        """Return `selected` (T) plus the counts of the flagged sentences (E, K)."""
        new = flags.ravel()[self.sentence]
        added = np.bincount(self.term[new], self.count[new], minlength=self.total.size)
        return selected + added.astype(np.int64)

    def _sum_per_text(self, values: NDArray[np.int64] | NDArray[np.bool_]) -> NDArray[np.float64]:
        """Sum values of terms (T) per text: (E, 1)."""
        sums = np.bincount(self.text, values.astype(np.float64), minlength=self.texts)
        return np.asarray(sums[:, None], dtype=np.float64)

    def _sum_per_sentence(self, values: I64) -> NDArray[np.float64]:
        """Sum values of pairs (P) per sentence: (E, K)."""
        sums = np.bincount(self.sentence, values, minlength=self.texts * self.sentences)
        return np.asarray(sums.reshape(self.texts, self.sentences), dtype=np.float64)
