"""Many texts to one array of tokens, a bounded number of characters at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.text.segmenters import Segmenter
from ptm.text.tokenizers import Tokenizer
from ptm.text.words import WordFinder

_CHARACTERS_A_CALL = 2**18
"""Characters handed to the tokenizer at once: bounds the memory of its results."""


@dataclass(frozen=True)
class EncodedTexts:
    """The tokens of texts, one after another: `lengths` tokens a text.

    `word_starts`: for every token whether it begins a word, where that is wanted.
    """

    tokens: NDArray[Any]
    lengths: I64
    word_starts: NDArray[np.bool_] | None = None


class TextEncoder:
    """Turns texts into tokens of `dtype`, and finds their words where there is a segmenter."""

    def __init__(
        self, tokenizer: Tokenizer, segmenter: Segmenter | None, dtype: type[np.unsignedinteger]
    ) -> None:
        self._tokenizer = tokenizer
        self._words = WordFinder(tokenizer, segmenter) if segmenter else None
        self._dtype = dtype

    def __call__(self, texts: Sequence[str]) -> EncodedTexts:
        """The tokens of all `texts`."""
        ids: list[NDArray[Any]] = [np.empty(0, self._dtype)]
        starts: list[NDArray[np.bool_]] = [np.empty(0, bool)]
        lengths: list[int] = []
        for batch in _batches(texts, _CHARACTERS_A_CALL):
            if self._words is not None:
                found = self._words.encode(batch)
                ids += [tokens.astype(self._dtype) for tokens, _ in found]
                starts += [begins for _, begins in found]
                lengths += [len(tokens) for tokens, _ in found]
            else:
                encoded = self._tokenizer.encode(batch)
                ids += [np.array(tokens, dtype=self._dtype) for tokens in encoded]
                lengths += [len(tokens) for tokens in encoded]
        return EncodedTexts(
            np.concatenate(ids),
            np.array(lengths, dtype=np.int64),
            np.concatenate(starts) if self._words is not None else None,
        )


def interleaved(sources: EncodedTexts, targets: EncodedTexts) -> EncodedTexts:
    """Source, target, source, target …; both or neither of a pair: one without text goes whole."""
    whole = (sources.lengths > 0) & (targets.lengths > 0)
    begins = [exclusive_cumsum(side.lengths) for side in (sources, targets)]
    starts = np.stack([begins[0], begins[1] + sources.tokens.size], axis=1)[whole].ravel()
    lengths = np.stack([sources.lengths, targets.lengths], axis=1)
    tokens = np.concatenate([sources.tokens, targets.tokens])
    kept = tokens[ragged_ranges(starts, lengths[whole].ravel())]
    lengths[~whole] = 0
    return EncodedTexts(kept, lengths.ravel())


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
