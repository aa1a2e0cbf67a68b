"""Word starts among the tokens of a text, for whole-word masking.

A piece that continues a word never starts one: `##x` of WordPiece, or a piece without the mark of
a word's start in tokenizers that write one (`▁`, `Ġ`). Words of Chinese characters are found by a
segmenter on the text. A tokenizer of the Hub may mark words in any way, or not at all: its words
are found in the text, at white space and punctuation. Every other token starts a word (Cui et al.
2019, "Pre-Training with Whole Word Masking for Chinese BERT", section 3.1).

All texts of a batch are handled at once, joined by newlines, which are in no word.

Shape letters: S texts, C characters of the joined texts, N tokens.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum
from ptm.text.segmenters import Segmenter
from ptm.text.segmenters.base import SegmentFunction
from ptm.text.tokenizers import Tokenizer

# The code points that BertNormalizer of the tokenizers library treats as Chinese characters.
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
    """Whether BERT's tokenizer makes each character of `text` a token of its own (C)."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    # The last range that starts at or before each character; -1 if there is no such range.
    slot = np.searchsorted(_CHINESE_RANGES[:, 0], codes, side="right") - 1
    inside: NDArray[np.bool_] = (slot >= 0) & (codes <= _CHINESE_RANGES[slot, 1])
    return inside


def word_boundaries(words: Iterable[str], length: int) -> NDArray[np.bool_]:
    """Whether a segmenter's word starts at each character (C = `length`).

    `words` are consecutive and, concatenated, are the text.
    """
    boundaries = np.zeros(length + 1, dtype=bool)
    ends = np.cumsum(np.fromiter(map(len, words), np.int64))
    boundaries[0] = True
    boundaries[np.minimum(ends, length)] = True
    return boundaries[:length]


class _Kinds(dict[str, int]):
    """Whether a character is white space, part of a word, or a word of its own."""

    SPACE, WORD, MARK = range(3)

    def __missing__(self, character: str) -> int:
        category = unicodedata.category(character)
        if character.isspace():
            kind = self.SPACE
        elif category[0] in "LNM" or category == "Cf":
            kind = self.WORD
        else:
            kind = self.MARK
        self[character] = kind
        return kind


_KINDS = _Kinds()


def starts_in_text(text: str, first: I64, last: I64) -> tuple[I64, NDArray[np.bool_]]:
    """Each token's first character that is not white space (N), and whether a word starts there.

    `first` (N) is the index of each token's first character, `last` (N) that of its text's last
    one. As for BERT, words are separated by white space, and every punctuation mark and symbol is
    a word of its own. Of several tokens with the same first character only the first one starts a
    word.
    """
    kinds = np.fromiter(map(_KINDS.__getitem__, text), dtype=np.int8, count=len(text))
    spaces = kinds == _Kinds.SPACE
    # The next character that is not white space, from each character on (C).
    places = np.where(spaces, len(text) - 1, np.arange(len(text)))
    written = np.minimum(np.minimum.accumulate(places[::-1])[::-1][first], last)
    before = np.concatenate(([_Kinds.SPACE], kinds[:-1]))
    boundary = ~spaces & ((before != _Kinds.WORD) | (kinds == _Kinds.MARK))
    begins = boundary[written]
    begins[1:] &= written[1:] != written[:-1]
    return written, begins


class WordStartEncoder:
    """Tokenises texts and marks the tokens that start words."""

    def __init__(self, tokenizer: Tokenizer, segmenter: Segmenter) -> None:
        self._tokenizer = tokenizer
        self._cut: SegmentFunction = segmenter.load()
        self._cuts_at_newlines = segmenter.CUTS_AT_NEWLINES

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[Any], I64, NDArray[np.bool_]]:
        """Token ids (N), tokens per text (S), and whether each token starts a word (N)."""
        tokens, lengths, first = self._tokenizer.encode_arrays_with_starts(texts)
        begins = ~self._tokenizer.continuations[tokens]
        if tokens.size:
            joined = "\n".join(texts)
            if self._tokenizer.config.words_from_text:
                sizes = np.fromiter(map(len, texts), np.int64, len(texts))
                ends = exclusive_cumsum(sizes + 1) + sizes
                first, begins = starts_in_text(joined, first, np.repeat(ends - 1, lengths))
            begins = self._word_starts(joined, self._words(texts, joined), tokens, first, begins)
            begins[exclusive_cumsum(lengths)[lengths > 0]] = True
        return tokens, lengths, begins

    def _words(self, texts: Sequence[str], joined: str) -> Iterable[str]:
        """The segmenter's words of all texts, with the newlines between these."""
        if self._cuts_at_newlines:
            return self._cut(joined)
        return chain.from_iterable(chain(self._cut(text), "\n") for text in texts)

    def _word_starts(
        self,
        text: str,
        words: Iterable[str],
        tokens: NDArray[Any],
        first: I64,
        by_piece: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Whether each token starts a word (N), except that the first of a text always does.

        `text` is all texts, `words` are those of the segmenter. `first` (N) is the index of each
        token's first character; `by_piece` (N) is whether the piece itself starts a word.
        """
        boundary = word_boundaries(words, len(text))
        if self._tokenizer.config.has_unmarked_pieces:
            return boundary[first]
        chinese = chinese_characters(text)
        # A character after one that is not Chinese starts a word as well.
        boundary[1:] |= ~chinese[:-1]
        # The segmenter decides for Chinese characters, the piece for all others.
        begins = np.where(chinese[first], boundary[first], by_piece)
        config = self._tokenizer.config
        if config.WORD_MARK is not None or config.words_from_text:
            # Text right after a Chinese character starts a word although it has no mark.
            begins |= ~chinese[first] & chinese[first - 1] & (first > 0)
            begins = self._merge_into_characters(tokens, first, begins, by_piece)
        return begins

    def _merge_into_characters(
        self,
        tokens: NDArray[Any],
        first: I64,
        begins: NDArray[np.bool_],
        by_piece: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Remove word starts inside a character or right after a bare mark.

        Byte pieces of one character have the same first character and belong to one word. A mark
        without text (`▁` alone) is part of the word of the piece after it.
        """
        follows = np.zeros_like(begins)
        follows[1:] = (first[1:] == first[:-1]) | self._tokenizer.bare_marks[tokens[:-1]]
        return begins & ~(follows & ~by_piece)
