"""Tokenises texts to arrays, with word starts if there is a segmenter.

Shape letters: T tokens, S sentences (or other texts), P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.errors import UserError
from ptm.text.segmenters import Segmenter
from ptm.text.tokenizers import Tokenizer
from ptm.text.words import WordStartEncoder

_CHARACTERS_PER_CALL = 2**18
"""Characters per call of the tokenizer; bounds the memory of its results."""


@dataclass(frozen=True)
class EncodedTexts:
    """The tokens of several texts, concatenated."""

    tokens: NDArray[Any]
    """Token ids (T)."""
    lengths: I64
    """Tokens per text (S)."""
    word_starts: NDArray[np.bool_] | None = None
    """Whether each token starts a word (T); None without a segmenter."""


@dataclass(frozen=True)
class CharacterSpans:
    """The characters [start, end) of each token in its text, without white space around (T each).

    Both ascend within a text. A token that is only white space is empty.
    """

    starts: I64
    ends: I64


class TextTokenizer:
    """Tokenises texts to ids of `dtype`, and marks word starts if there is a segmenter."""

    def __init__(
        self, tokenizer: Tokenizer, segmenter: Segmenter | None, dtype: type[np.unsignedinteger]
    ) -> None:
        self._tokenizer = tokenizer
        # In byte-level BPE a word begins with the space before it.
        self._before_word = " " if tokenizer.config.mask_takes_space else ""
        self._words = WordStartEncoder(tokenizer, segmenter) if segmenter else None
        vocabulary = tokenizer.vocabulary
        self.unknown_id = vocabulary.special_id("unk") if vocabulary.has("unk") else -1
        """Id of the unknown token; -1 if absent."""
        self._dtype = dtype

    def __call__(self, texts: Sequence[str]) -> EncodedTexts:
        """Tokenise all `texts`."""
        # np.concatenate needs at least one array, and `texts` may be empty.
        ids: list[NDArray[Any]] = [np.empty(0, self._dtype)]
        lengths = [np.empty(0, np.int64)]
        starts = [np.empty(0, bool)]
        for batch in _batches(texts, _CHARACTERS_PER_CALL):
            if self._words is not None:
                tokens, sizes, begins = self._words.encode(batch)
                starts.append(begins)
            else:
                tokens, sizes = self._tokenizer.encode_arrays(batch)
            ids.append(tokens.astype(self._dtype))
            lengths.append(sizes)
        return EncodedTexts(
            np.concatenate(ids),
            np.concatenate(lengths),
            np.concatenate(starts) if self._words is not None else None,
        )

    def with_characters(self, texts: Sequence[str]) -> tuple[EncodedTexts, CharacterSpans]:
        """Tokenise all `texts`, and find the characters of each token."""
        ids: list[NDArray[Any]] = [np.empty(0, self._dtype)]
        lengths, starts, ends = ([np.empty(0, np.int64)] for _ in range(3))
        for batch in _batches(texts, _CHARACTERS_PER_CALL):
            tokens, sizes, first = self._tokenizer.encode_arrays_with_starts(batch)
            found = _character_spans(batch, sizes, first)
            ids.append(tokens.astype(self._dtype))
            lengths.append(sizes)
            starts.append(found.starts)
            ends.append(found.ends)
        encoded = EncodedTexts(np.concatenate(ids), np.concatenate(lengths))
        return encoded, CharacterSpans(np.concatenate(starts), np.concatenate(ends))

    def words(self, words: Sequence[str]) -> tuple[EncodedTexts, int]:
        """Tokenise each of the `words` by itself, as if a space came before it.

        A word that has no token, such as a control character, becomes the unknown token. Returns
        the tokens, with one length per word, and the number of these words.
        """
        distinct = {word: index for index, word in enumerate(dict.fromkeys(words))}
        encoded = self([self._before_word + word for word in distinct])
        chosen = np.fromiter((distinct[word] for word in words), np.int64, len(words))
        lengths = encoded.lengths[chosen]
        without = int((lengths == 0).sum())
        if without and self.unknown_id < 0:
            word = words[int(np.flatnonzero(lengths == 0)[0])]
            raise UserError(
                f"the tokenizer has no token for the word {word!r}, and its vocabulary has no "
                "unknown token. Remove the word, or use a vocabulary with an unknown token."
            )
        kept = ragged_ranges(exclusive_cumsum(encoded.lengths)[chosen], lengths)
        filled = np.maximum(lengths, 1)
        tokens = np.full(int(filled.sum()), max(self.unknown_id, 0), dtype=self._dtype)
        tokens[ragged_ranges(exclusive_cumsum(filled), lengths)] = encoded.tokens[kept]
        return EncodedTexts(tokens, filled), without


def _character_spans(texts: Sequence[str], lengths: I64, first: I64) -> CharacterSpans:
    """The characters of the tokens of some texts.

    `lengths` (S): tokens per text. `first` (T): each token's first character in the texts joined by
    newlines. A token reaches up to the next one that begins elsewhere, so that the pieces of one
    character all have it.
    """
    if not first.size:
        return CharacterSpans(first, first)
    points = np.frombuffer("\n".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    distinct, which = np.unique(points, return_inverse=True)
    spaces = np.array([chr(point).isspace() for point in distinct.tolist()])[which]
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    begins = np.repeat(exclusive_cumsum(sizes + 1), lengths)
    limits = begins + np.repeat(sizes, lengths)
    first = np.minimum.accumulate(first[::-1])[::-1]
    # The next token that begins elsewhere; a token of another text always does.
    last_of_run = np.append(np.flatnonzero(np.diff(first)), first.size - 1)
    run = np.searchsorted(last_of_run, np.arange(first.size))
    following = np.append(first[last_of_run[:-1] + 1], limits[-1])[run]
    limits = np.minimum(following, limits)
    # The first character from each place on, and the end of the last one before it, that is none
    # of white space.
    places = np.arange(points.size)
    onwards = np.minimum.accumulate(np.where(spaces, points.size, places)[::-1])[::-1]
    before = np.append(0, np.maximum.accumulate(np.where(spaces, 0, places + 1)))
    starts = np.minimum(onwards[first], limits)
    ends = np.maximum(before[limits], starts)
    return CharacterSpans(starts - begins, ends - begins)


def interleave(sources: EncodedTexts, targets: EncodedTexts) -> EncodedTexts:
    """Interleave the tokens of P pairs: source, target, source, target …

    A pair with a side without tokens is dropped: both its lengths become 0. The result has S = 2P,
    and word starts if both sides have them.
    """
    whole = (sources.lengths > 0) & (targets.lengths > 0)
    # Start of each side of each whole pair in the concatenation of source and target tokens.
    begins = [exclusive_cumsum(side.lengths) for side in (sources, targets)]
    starts = np.stack([begins[0], begins[1] + sources.tokens.size], axis=1)[whole].ravel()
    lengths = np.stack([sources.lengths, targets.lengths], axis=1)
    kept = ragged_ranges(starts, lengths[whole].ravel())
    lengths[~whole] = 0
    words = None
    if sources.word_starts is not None and targets.word_starts is not None:
        words = np.concatenate([sources.word_starts, targets.word_starts])[kept]
    tokens = np.concatenate([sources.tokens, targets.tokens])
    return EncodedTexts(tokens[kept], lengths.ravel(), words)


def whole_documents(encoded: EncodedTexts, counts: I64) -> EncodedTexts:
    """Drop all texts of the documents in which one text has no tokens: their lengths become 0.

    `counts`: texts per document, at least 1.
    """
    owner = np.repeat(np.arange(counts.size), counts)
    lacking = np.bincount(owner[encoded.lengths == 0], minlength=counts.size)[owner] > 0
    kept = ragged_ranges(exclusive_cumsum(encoded.lengths)[~lacking], encoded.lengths[~lacking])
    return replace(
        encoded,
        tokens=encoded.tokens[kept],
        lengths=np.where(lacking, 0, encoded.lengths),
        word_starts=None if encoded.word_starts is None else encoded.word_starts[kept],
    )


def _batches(texts: Sequence[str], characters: int) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
