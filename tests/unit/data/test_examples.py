from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptm.data.examples import (
    ConcatenatedDocuments,
    DocumentChunks,
    TokenSpans,
    chunk_documents,
    concatenate_documents,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptm.store.reader import TokenStore

# Not a token id of any vocabulary used here, so that it can be recognised.
SEPARATOR = 10**6
LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=20).map(
    lambda lengths: np.array(lengths, dtype=np.int64)
)


def starts_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.cumsum(lengths) - lengths


def joined_stream(store: TokenStore) -> NDArray[np.int64]:
    """Return all documents of the store with a separator between neighbours."""
    starts, lengths = store.document_ranges
    tokens = store.tokens(starts, lengths)
    return np.insert(tokens, np.cumsum(lengths)[:-1], SEPARATOR)


def without_last_separator(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop the separator after the last document, which is optional."""
    return tokens[:-1] if tokens[-1] == SEPARATOR else tokens


@given(lengths=LENGTHS, longest=st.integers(1, 12))
def test_the_concatenated_chunks_are_the_documents(
    lengths: NDArray[np.int64], longest: int
) -> None:
    pieces = chunk_documents(starts_of(lengths), lengths, longest)
    tokens = [
        token
        for start, length in zip(pieces.starts, pieces.lengths, strict=True)
        for token in range(start, start + length)
    ]
    assert tokens == list(range(lengths.sum()))


@given(lengths=LENGTHS, longest=st.integers(1, 12))
def test_no_chunk_is_empty_too_long_or_across_documents(
    lengths: NDArray[np.int64], longest: int
) -> None:
    starts = starts_of(lengths)
    pieces = chunk_documents(starts, lengths, longest)
    assert ((pieces.lengths >= 1) & (pieces.lengths <= longest)).all()
    first = np.searchsorted(starts, pieces.starts, side="right")
    last = np.searchsorted(starts, pieces.starts + pieces.lengths - 1, side="right")
    assert (first == last).all()


@given(lengths=LENGTHS, longest=st.integers(1, 12))
def test_documents_are_split_into_as_few_chunks_as_possible(
    lengths: NDArray[np.int64], longest: int
) -> None:
    pieces = chunk_documents(starts_of(lengths), lengths, longest)
    assert pieces.lengths.size == sum(-(-int(length) // longest) for length in lengths)


def test_chunks_of_real_documents_hold_every_token_once(real_store: TokenStore) -> None:
    starts, lengths = real_store.document_ranges
    pieces = chunk_documents(starts, lengths, 50)
    texts = pieces.texts(real_store, np.arange(pieces.lengths.size))
    assert (texts.tokens == real_store.tokens(starts, lengths)).all()
    assert texts.word_starts is not None
    assert (texts.word_starts == real_store.word_starts(starts, lengths)).all()


@pytest.mark.parametrize("longest", [1, 7, 126])
def test_concatenated_documents_hold_every_token_once_with_separators_between(
    real_store: TokenStore, longest: int
) -> None:
    examples = concatenate_documents(*real_store.document_ranges, longest, separator=SEPARATOR)
    texts = examples.texts(real_store, np.arange(examples.lengths.size))
    assert np.array_equal(without_last_separator(texts.tokens), joined_stream(real_store))


def test_all_concatenated_examples_but_the_last_are_full(real_store: TokenStore) -> None:
    lengths = concatenate_documents(*real_store.document_ranges, 126, separator=SEPARATOR).lengths
    assert (lengths[:-1] == 126).all()
    assert 1 <= lengths[-1] <= 126


def test_a_concatenated_example_is_the_same_alone_and_in_a_batch(real_store: TokenStore) -> None:
    examples = concatenate_documents(*real_store.document_ranges, 126, separator=SEPARATOR)
    whole = examples.texts(real_store, np.arange(examples.lengths.size)).tokens
    for index in (0, 5, examples.lengths.size - 1):
        alone = examples.texts(real_store, np.array([index])).tokens
        assert np.array_equal(alone, whole[126 * index : 126 * (index + 1)])


def test_separators_and_first_tokens_of_documents_start_words(
    real_store: TokenStore,
) -> None:
    examples = concatenate_documents(*real_store.document_ranges, 126, separator=SEPARATOR)
    texts = examples.texts(real_store, np.arange(examples.lengths.size))
    assert texts.word_starts is not None
    separators = np.flatnonzero(without_last_separator(texts.tokens) == SEPARATOR)
    assert separators.size == real_store.info.documents - 1
    assert texts.word_starts[separators].all()
    assert texts.word_starts[separators + 1].all()


@pytest.mark.parametrize("kind", [DocumentChunks, ConcatenatedDocuments])
def test_an_index_is_rebuilt_from_its_arrays(
    real_store: TokenStore, kind: type[DocumentChunks] | type[ConcatenatedDocuments]
) -> None:
    ranges = real_store.document_ranges
    examples: DocumentChunks | ConcatenatedDocuments = (
        chunk_documents(*ranges, 20)
        if kind is DocumentChunks
        else concatenate_documents(*ranges, 20, separator=SEPARATOR)
    )
    again = kind.from_arrays(examples.to_arrays())
    index = np.arange(0, examples.lengths.size, 7)
    expected = examples.texts(real_store, index)
    assert np.array_equal(again.texts(real_store, index).tokens, expected.tokens)
    assert np.array_equal(again.lengths, examples.lengths)


def test_spans_with_fewer_parts_are_joined_with_empty_ones() -> None:
    pair = TokenSpans(np.arange(3), np.array([[1, 2]]), None)
    single = TokenSpans(np.arange(3, 8), np.array([[4], [1]]), np.zeros(5, dtype=bool))
    joined = TokenSpans.joined([pair, single])
    assert joined.part_lengths.tolist() == [[1, 2], [4, 0], [1, 0]]
    assert joined.tokens.tolist() == list(range(8))
    assert joined.word_starts is None, "only one of them has word starts"
