"""Where words begin among the tokens of a text, for whole-word masking.

A piece that continues a word (`##x`, or one without `▁` or `Ġ` where pieces carry such a mark)
never begins one. Among Chinese characters, each of which is a token of its own, words are found by
a segmenter on the text; elsewhere every other token begins a word (Cui et al. 2019, "Pre-Training
with Whole Word Masking for Chinese BERT", section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ptm.text.segmenters import Segmenter
from ptm.text.segmenters.base import Cut
from ptm.text.tokenizers import Tokenizer

# What the tokenizers library takes for a Chinese character (its BertNormalizer).
_CHINESE_RANGES = np.array(
    [
        (0x3400, 0x4DBF),
        (0x4E00, 0x9FFF),
        (0xF900, 0xFAFF),
        (0x20000, 0x2A6DF),
        (0x2A700, 0x2B73F),
        (0x2B740, 0x2B81F),
        (0x2B920, 0x2CEAF),
        (0x2F800, 0x2FA1F),
    ],
    dtype=np.uint32,
)


def chinese_characters(text: str) -> NDArray[np.bool_]:
    """For each character of `text`, whether BERT's tokenizer makes it a token of its own."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    slot = np.searchsorted(_CHINESE_RANGES[:, 0], codes, side="right") - 1
    inside: NDArray[np.bool_] = (slot >= 0) & (codes <= _CHINESE_RANGES[slot, 1])
    return inside


def word_boundaries(words: Sequence[str], length: int) -> NDArray[np.bool_]:
    """For each character of the text, whether a segmenter's word begins at it."""
    boundaries = np.zeros(length + 1, dtype=bool)
    ends = np.cumsum([len(word) for word in words], dtype=np.int64) if words else np.zeros(1, int)
    boundaries[0] = True
    boundaries[np.minimum(ends, length)] = True
    return boundaries[:length]


class WordFinder:
    """Ids of texts together with the tokens that begin words."""

    def __init__(self, tokenizer: Tokenizer, segmenter: Segmenter) -> None:
        self._tokenizer = tokenizer
        self._cut: Cut = segmenter.load()

    def encode(self, texts: Sequence[str]) -> list[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """For each text: ids (N), and whether each begins a word (N)."""
        found = []
        for text, (ids, offsets) in zip(
            texts, self._tokenizer.encode_with_offsets(texts), strict=True
        ):
            tokens = np.array(ids, dtype=np.int64)
            begins = ~self._tokenizer.continuations[tokens]
            if len(ids):
                # A piece that the text only implies stands for no character of it.
                first = np.minimum(np.array(offsets, dtype=np.int64)[:, 0], len(text) - 1)
                begins = self._begins(text, tokens, first, begins)
            found.append((tokens, begins))
        return found

    def _begins(
        self,
        text: str,
        tokens: NDArray[np.int64],
        first: NDArray[np.int64],
        by_piece: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Whether each token begins a word, from its first character and from its piece."""
        boundary = word_boundaries(list(self._cut(text)), len(text))
        if self._tokenizer.config.splits_words:
            begins = boundary[first]
        else:
            chinese = chinese_characters(text)
            boundary[1:] |= ~chinese[:-1]
            begins = np.where(chinese[first], boundary[first], by_piece)
            if self._tokenizer.config.WORD_MARK is not None:
                begins |= ~chinese[first] & chinese[first - 1] & (first > 0)
                begins = self._joined(tokens, first, begins)
        begins[0] = True
        return begins

    def _joined(
        self, tokens: NDArray[np.int64], first: NDArray[np.int64], begins: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Bytes of one character belong together, and a mark alone to the piece after it."""
        follows = np.zeros_like(begins)
        follows[1:] = (first[1:] == first[:-1]) | self._tokenizer.bare_marks[tokens[:-1]]
        return begins & ~(follows & self._tokenizer.continuations[tokens])
