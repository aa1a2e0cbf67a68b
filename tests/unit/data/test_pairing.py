from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptm.data.documents import Documents
from ptm.data.pairing import (
    RANDOM,
    SWAPPED,
    _Draws,
    next_sentence_pairs,
    sentence_order_pairs,
)
from ptm.data.pairs import Halves, Pairs, count_heads, truncated
from ptm.errors import UserError
from ptm.rng import stream_keys
from tests.support.made_documents import MadeDocuments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.conftest import BuildStore

Made = Callable[..., Pairs]
EITHER = pytest.mark.parametrize("make", [next_sentence_pairs, sentence_order_pairs])
# A corpus is a list of documents, a document the list of its sentences' lengths: at least two
# documents, one of them with two sentences.
SENTENCES = st.lists(st.integers(1, 9), min_size=1, max_size=12)
CORPORA = st.lists(SENTENCES, min_size=2, max_size=8).map(lambda made: [*made, [3, 4]])

FEW = settings(max_examples=40)


def many_documents(count: int, *, sentences: int = 12, longest: int = 30) -> MadeDocuments:
    draw = np.random.default_rng(0)
    sizes = draw.integers(2, 2 * sentences, count)
    return MadeDocuments([draw.integers(1, longest, n).tolist() for n in sizes])


def made(
    make: Made, documents: MadeDocuments, *, longest: int = 40, short: float = 0.1, seed: int = 3
) -> Pairs:
    return make(documents, longest=longest, short_probability=short, seed=seed)


# Properties of all pairs


@EITHER
@FEW
@given(corpus=CORPORA, longest=st.integers(2, 40), seed=st.integers(0, 99))
def test_halves_are_not_empty_or_across_documents_and_pairs_fit(
    make: Made, corpus: list[list[int]], longest: int, seed: int
) -> None:
    documents = MadeDocuments(corpus)
    pairs = made(make, documents, longest=longest, seed=seed)
    assert (pairs.first_lengths > 0).all()
    assert (pairs.second_lengths > 0).all()
    assert (pairs.lengths <= longest).all()
    for starts, lengths in (
        (pairs.first_starts, pairs.first_lengths),
        (pairs.second_starts, pairs.second_lengths),
    ):
        first, last = documents.document_of(starts), documents.document_of(starts + lengths - 1)
        assert (first == last).all()


@FEW
@given(corpus=CORPORA, longest=st.integers(2, 40), seed=st.integers(0, 99))
def test_random_halves_are_of_another_document_and_others_follow_in_the_same_one(
    corpus: list[list[int]], longest: int, seed: int
) -> None:
    documents = MadeDocuments(corpus)
    pairs = made(next_sentence_pairs, documents, longest=longest, seed=seed)
    same = documents.document_of(pairs.first_starts) == documents.document_of(pairs.second_starts)
    assert (same == (pairs.labels != RANDOM)).all()
    follows = pairs.first_starts + pairs.first_lengths <= pairs.second_starts
    assert follows[same].all()


@FEW
@given(corpus=CORPORA, seed=st.integers(0, 99))
def test_sentences_replaced_by_random_halves_are_used_in_the_next_chunk(
    corpus: list[list[int]], seed: int
) -> None:
    # Rows are so long that nothing is truncated; chunks have random short targets.
    documents = MadeDocuments(corpus)
    pairs = made(next_sentence_pairs, documents, longest=500, short=1.0, seed=seed)
    positive = pairs.labels != RANDOM
    used = documents.covered(pairs.first_starts, pairs.first_lengths)
    used += documents.covered(pairs.second_starts[positive], pairs.second_lengths[positive])
    assert (used == 1).all()


@FEW
@given(corpus=CORPORA, seed=st.integers(0, 99))
def test_order_pairs_use_every_sentence_once_except_in_single_sentence_documents(
    corpus: list[list[int]], seed: int
) -> None:
    documents = MadeDocuments(corpus)
    pairs = made(sentence_order_pairs, documents, longest=500, short=1.0, seed=seed)
    used = documents.covered(pairs.first_starts, pairs.first_lengths)
    used += documents.covered(pairs.second_starts, pairs.second_lengths)
    single = [len(document) == 1 for document in corpus]
    expected = ~np.repeat(single, [sum(document) for document in corpus])
    assert (used == expected).all()
    counted = pairs.left_out.get("documents of one sentence", 0)
    assert counted == sum(single)
    tokens = pairs.left_out.get("tokens in documents of one sentence", 0)
    assert tokens == (used == 0).sum()


@FEW
@given(corpus=CORPORA, longest=st.integers(2, 40), seed=st.integers(0, 99))
def test_halves_are_swapped_if_and_only_if_the_label_is_swapped(
    corpus: list[list[int]], longest: int, seed: int
) -> None:
    documents = MadeDocuments(corpus)
    pairs = made(sentence_order_pairs, documents, longest=longest, seed=seed)
    first, second = pairs.first_starts, pairs.second_starts
    assert (documents.document_of(first) == documents.document_of(second)).all()
    assert ((second < first) == (pairs.labels == SWAPPED)).all()


@EITHER
def test_the_last_sentence_of_the_last_document_is_used(make: Made) -> None:
    documents = many_documents(50)
    pairs = made(make, documents, longest=10_000, short=0.0)
    ends = np.concatenate(
        [pairs.first_starts + pairs.first_lengths, pairs.second_starts + pairs.second_lengths]
    )
    assert documents.tokens in ends.tolist()


# Frequencies


@EITHER
def test_half_of_the_pairs_have_either_label(make: Made) -> None:
    documents = MadeDocuments([[5] * 40] * 2000)
    labels = made(make, documents, short=0.0).labels
    assert abs(labels.mean() - 0.5) < 4 * 0.5 / labels.size**0.5 + 0.02


def test_labels_of_two_sentence_chunks_are_balanced() -> None:
    documents = MadeDocuments([[20, 20]] * 10_000)
    pairs = made(next_sentence_pairs, documents, short=0.0)
    # Only chunks at the start of a document: single sentences left by a random half are always
    # random.
    begins = pairs.first_starts % 40 == 0
    assert abs((pairs.labels[begins] == RANDOM).mean() - 0.5) < 0.02


@EITHER
def test_a_tenth_of_the_documents_has_short_pairs_of_all_lengths(make: Made) -> None:
    # With sentences of one token, pairs have exactly the target length.
    documents = MadeDocuments([[1] * 60] * 10_000)
    pairs = made(make, documents, longest=20)
    firsts = np.minimum(pairs.first_starts, pairs.second_starts) % 60 == 0
    alike = documents.document_of(pairs.first_starts) == documents.document_of(pairs.second_starts)
    lengths = pairs.lengths[firsts & alike]
    short = lengths[lengths < 20]
    # One of the 19 possible short targets is 20 itself.
    assert abs(short.size / lengths.size - 0.1 * 18 / 19) < 0.02
    counts = np.bincount(short, minlength=20)[2:20]
    assert counts.min() > 0.5 * counts.mean()


def test_random_sentences_come_from_all_documents_and_positions() -> None:
    documents = MadeDocuments([[1] * 40] * 100)
    pairs = made(next_sentence_pairs, documents, longest=10, short=0.0)
    random = pairs.labels == RANDOM
    begins = pairs.second_starts[random]
    assert np.unique(documents.document_of(begins)).size > 90
    assert set((begins % 40).tolist()) == set(range(40))


def test_random_halves_never_come_from_a_document_of_the_same_text() -> None:
    documents = MadeDocuments([[3] * 8] * 30, hashes=[7] * 29 + [8])
    pairs = made(next_sentence_pairs, documents, longest=12)
    other = documents.document_of(pairs.second_starts[pairs.labels == RANDOM])
    own = documents.document_of(pairs.first_starts[pairs.labels == RANDOM])
    assert ((own == 29) != (other == 29)).all()


# Comparison with a plain loop over sentences


def google_chunks(
    document: Sequence[int],
    *,
    target: int,
    split: Callable[[int, int], int],
    random: Callable[[int], bool],
) -> list[tuple[int, int, int, bool]]:
    """Return (first sentence, first of the second half, sentence after the chunk, random)."""
    found, at, chunk = [], 0, []
    while at < len(document):
        chunk.append(at)
        if at == len(document) - 1 or sum(document[one] for one in chunk) >= target:
            second = chunk[0] + (split(chunk[0], len(chunk)) if len(chunk) > 1 else 1)
            is_random = len(chunk) == 1 or random(chunk[0])
            found.append((chunk[0], second, at + 1, is_random))
            if is_random:
                at -= len(chunk) - (second - chunk[0])
            chunk = []
        at += 1
    return found


def test_chunks_and_splits_equal_those_of_a_plain_loop() -> None:
    documents = many_documents(300)
    longest, seed = 40, 11
    pairs = made(next_sentence_pairs, documents, longest=longest, short=0.0, seed=seed)
    drawn = _Draws(seed)
    every = np.arange(documents.sentences.starts.size)
    splits, kinds = drawn.uniform(2, every), drawn.uniform(3, every)

    def split(base: int, one: int, n: int) -> int:
        return 1 + int(splits[base + one] * (n - 1))

    def is_random(base: int, one: int) -> bool:
        return bool(kinds[base + one] < 0.5)

    first_sentence, at = 0, 0
    tokens = np.cumsum([0, *documents.sentences.lengths])
    for sizes in documents.corpus:
        base = first_sentence
        for begin, second, after, random in google_chunks(
            sizes,
            target=longest,
            split=partial(split, base),
            random=partial(is_random, base),
        ):
            starts = tokens[base + begin], tokens[base + second]
            whole = starts[1] - starts[0], tokens[base + after] - starts[1]
            assert (pairs.labels[at] == RANDOM) == random
            assert starts[0] <= pairs.first_starts[at]
            assert pairs.first_starts[at] + pairs.first_lengths[at] <= starts[1]
            if not random:
                kept = plainly_truncated(*whole, longest)
                assert (pairs.first_lengths[at], pairs.second_lengths[at]) == kept
                assert starts[1] <= pairs.second_starts[at] < starts[1] + whole[1]
            at += 1
        first_sentence += len(sizes)
    assert at == pairs.labels.size


def plainly_truncated(first: int, second: int, longest: int) -> tuple[int, int]:
    while first + second > longest:
        if first > second:
            first -= 1
        else:
            second -= 1
    return first, second


@given(
    first=st.integers(1, 70),
    second=st.integers(1, 70),
    longest=st.integers(2, 60),
)
def test_truncation_equals_google_truncate_seq_pair(first: int, second: int, longest: int) -> None:
    keys = stream_keys(1, np.zeros(1, np.int64))
    whole, other = (Halves(np.array([100]), np.array([n])) for n in (first, second))
    a, b = truncated(whole, other, longest, first_keys=keys, second_keys=keys)
    assert (a.lengths[0], b.lengths[0]) == plainly_truncated(first, second, longest)
    for cut, n in ((a, first), (b, second)):
        assert 100 <= cut.starts[0] <= 100 + n - cut.lengths[0]


@pytest.mark.parametrize("tosses", [1, 63, 64, 65, 200])
def test_heads_have_mean_and_variance_of_fair_coin_tosses(tosses: int) -> None:
    keys = stream_keys(5, np.arange(4000))
    found = count_heads(np.full(4000, tosses), keys)
    assert found.min() >= 0
    assert found.max() <= tosses
    assert abs(found.mean() - tosses / 2) < 4 * (tosses / 4 / 4000) ** 0.5
    assert found.var() == pytest.approx(tosses / 4, rel=0.15)


def test_zero_tosses_give_zero_heads() -> None:
    assert count_heads(np.array([0, 3, 0]), stream_keys(5, np.arange(3)))[[0, 2]].tolist() == [0, 0]
    assert count_heads(np.zeros(2, np.int64), stream_keys(5, np.arange(2))).tolist() == [0, 0]


# Determinism


@EITHER
def test_pairs_are_a_function_of_the_seed(make: Made) -> None:
    documents = many_documents(100)
    one, again, other = (made(make, documents, seed=seed) for seed in (1, 1, 2))
    assert all(
        np.array_equal(one.to_arrays()[name], again.to_arrays()[name]) for name in one.to_arrays()
    )
    assert not np.array_equal(one.first_starts, other.first_starts)


# Errors


@EITHER
def test_single_sentence_documents_are_rejected_with_the_key_to_set(
    make: Made, build_store: BuildStore, tmp_path: Path, tiny_vocab: Path
) -> None:
    store = build_store(tmp_path, "a\nb c\nd\n", vocab=tiny_vocab)
    with pytest.raises(UserError, match=r"single sentence \(.*: 3\).*sentence_splitting: true"):
        make(Documents(store), longest=8, short_probability=0.1, seed=1)


def test_a_single_document_is_rejected(
    build_store: BuildStore, tmp_path: Path, tiny_vocab: Path
) -> None:
    store = build_store(tmp_path, "a\nb\n", vocab=tiny_vocab, layout="sentences")
    with pytest.raises(UserError, match=r"documents to train on: 1.*empty line ends a document"):
        next_sentence_pairs(Documents(store), longest=8, short_probability=0.1, seed=1)


def test_a_single_held_out_document_is_rejected_with_its_own_advice() -> None:
    documents = MadeDocuments([[2, 3]], held_out=True)
    with pytest.raises(UserError, match=r"Raise data\.held_out"):
        made(next_sentence_pairs, documents)


def chosen_sentences(documents: Documents) -> NDArray[np.int64]:
    return np.stack([documents.sentences.starts, documents.sentences.lengths])


def test_chosen_documents_have_only_their_own_sentences(
    build_store: BuildStore, tmp_path: Path, tiny_vocab: Path
) -> None:
    text = "a b\nc\n\nd\n\ne f g\nh\n"
    store = build_store(tmp_path, text, vocab=tiny_vocab, layout="sentences")
    chosen = Documents(store, np.array([True, False, True]))
    assert chosen_sentences(chosen).tolist() == [[0, 2, 4, 7], [2, 1, 3, 1]]
    assert chosen.sentences.counts.tolist() == [2, 2]
    assert chosen_sentences(Documents(store)).tolist() == [[0, 2, 3, 4, 7], [2, 1, 1, 3, 1]]
