"""Word starts of a batch, cut into those of its texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptm.text.segmenters import Segmenter
from ptm.text.tokenizers import Tokenizer
from ptm.text.words import WordStartEncoder

Encoded = tuple[NDArray[Any], NDArray[np.bool_]]


def encode_each(tokenizer: Tokenizer, segmenter: Segmenter, texts: Sequence[str]) -> list[Encoded]:
    """For each of `texts`, encoded at once: its ids, and whether each token starts a word."""
    ids, lengths, begins = WordStartEncoder(tokenizer, segmenter).encode(texts)
    cuts = np.cumsum(lengths)[:-1]
    return list(zip(np.split(ids, cuts), np.split(begins, cuts), strict=True))


def assert_words_are_those_of_each_text(
    tokenizer: Tokenizer, segmenter: Segmenter, texts: Sequence[str]
) -> None:
    """Compare `texts` encoded at once with each text encoded alone."""
    for text, (ids, begins) in zip(texts, encode_each(tokenizer, segmenter, texts), strict=True):
        ((expected, words),) = encode_each(tokenizer, segmenter, [text])
        assert ids.tolist() == expected.tolist(), repr(text)
        assert begins.tolist() == words.tolist(), repr(text)
