from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ptm.data.examples import chunk_documents
from ptm.rng import U64, stream_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptm.store.reader import TokenStore
    from tests.conftest import BuildStore, RealText

LENGTH = 256
MOST_SENTENCES = 20


@dataclass(frozen=True)
class RealTexts:
    """Texts one after another: `tokens` (N); `parts` (E, K): sentence lengths, 0 after the last."""

    tokens: NDArray[np.int64]
    parts: NDArray[np.int64]
    vocabulary_size: int

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.asarray(self.parts.sum(axis=1))

    @property
    def each(self) -> list[list[int]]:
        return split(self.tokens, self.lengths)

    @property
    def sentences(self) -> list[list[list[int]]]:
        """The sentences of every text."""
        flat = split(self.tokens, self.parts.ravel())
        width = self.parts.shape[1]
        rows = [flat[begin : begin + width] for begin in range(0, len(flat), width)]
        return [[sentence for sentence in row if sentence] for row in rows]

    def some(self, chosen: NDArray[np.int64]) -> RealTexts:
        """The texts with these indexes, in this order."""
        each = self.each
        tokens = [token for index in chosen for token in each[int(index)]]
        return RealTexts(np.array(tokens), self.parts[chosen], self.vocabulary_size)


def split(tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[list[int]]:
    """A ragged array as a list per example."""
    parts = np.split(tokens, np.cumsum(lengths)[:-1])
    return [part.tolist() for part in parts]


def keys_of(examples: int | NDArray[np.int64], epoch: int = 0) -> U64:
    numbers = np.arange(examples) if isinstance(examples, int) else examples
    return stream_keys(7, np.full(numbers.size, epoch), numbers)


@pytest.fixture(scope="module")
def pieces(real_store: TokenStore, real_text: RealText) -> RealTexts:
    """All documents, cut into chunks of at most LENGTH tokens."""
    index = chunk_documents(*real_store.document_ranges, LENGTH)
    texts = index.texts(real_store, np.arange(index.lengths.size))
    return RealTexts(texts.tokens, texts.part_lengths, real_text.tokenizer.vocabulary.size)


@pytest.fixture(scope="module")
def documents(
    real_text: RealText, build_store: BuildStore, tmp_path_factory: pytest.TempPathFactory
) -> RealTexts:
    """Documents of at least two sentences, cut after MOST_SENTENCES sentences."""
    store = build_store(
        tmp_path_factory.mktemp("sentences"),
        real_text.as_layout("sentences"),
        vocab=real_text.vocab,
        layout="sentences",
    )
    starts, lengths, counts = store.sentence_ranges
    first = np.cumsum(counts) - counts
    many = counts >= 2
    number = np.arange(MOST_SENTENCES)
    within = number < counts[many][:, None]
    at = np.where(within, first[many][:, None] + number, 0)
    parts = np.where(within, lengths[at], 0)
    tokens = store.tokens(starts[at].ravel(), parts.ravel())
    return RealTexts(tokens, parts, real_text.tokenizer.vocabulary.size)
