from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pytest

from ptm.components.objectives.noise.gaps import (
    gap_counts,
    lead_sentences,
    max_gap_side_lengths,
    principal_sentences,
    random_sentences,
    remove_sentences,
)
from tests.unit.components.objectives.noise.conftest import RealTexts, keys_of, split

MASK = 10**6
RATE = 0.3
Words = list[int]
every_principal = pytest.mark.parametrize(
    ("sequential", "unique"), [(False, False), (False, True), (True, False), (True, True)]
)


def count_of(sentences: int) -> int:
    return min(max(round(RATE * sentences), 1), sentences - 1)


# A plain implementation of ROUGE-1, sentence by sentence


def rouge_1(candidate: Words, reference: Words, *, unique: bool) -> Fraction:
    """ROUGE-1 F1 of two texts."""
    first, second = Counter(candidate), Counter(reference)
    if unique:
        first, second = Counter(set(candidate)), Counter(set(reference))
    shared = (first & second).total()
    if not shared:
        return Fraction(0)
    precision = Fraction(shared, first.total())
    recall = Fraction(shared, second.total())
    return 2 * precision * recall / (precision + recall)


def score(sentences: list[Words], chosen: Iterable[int], *, unique: bool) -> Fraction:
    """ROUGE-1 F1 of the chosen sentences against the others."""
    inside = set(chosen)
    candidate = [word for index in inside for word in sentences[index]]
    others = [index for index in range(len(sentences)) if index not in inside]
    return rouge_1(candidate, [w for index in others for w in sentences[index]], unique=unique)


def principal(sentences: list[Words], *, sequential: bool, unique: bool) -> list[int]:
    """The sentences that the paper selects; ties: the earlier."""
    wanted, everyone = count_of(len(sentences)), range(len(sentences))
    if not sequential:
        by_score = sorted(everyone, key=lambda i: -score(sentences, [i], unique=unique))
        return sorted(by_score[:wanted])
    taken: list[int] = []
    while len(taken) < wanted:
        left = [index for index in everyone if index not in taken]
        taken.append(max(left, key=lambda i: score(sentences, [*taken, i], unique=unique)))
    return sorted(taken)


@every_principal
def test_principal_sentences_match_a_plain_implementation(
    sequential: bool, unique: bool, documents: RealTexts
) -> None:
    gaps = principal_sentences(
        documents.tokens, documents.parts, RATE, sequential=sequential, unique=unique
    )
    # Every 50th document only: the plain implementation is slow.
    for index in range(0, len(documents.sentences), 50):
        expected = principal(documents.sentences[index], sequential=sequential, unique=unique)
        assert np.flatnonzero(gaps[index]).tolist() == expected


def test_the_four_variants_of_principal_sentences_differ(documents: RealTexts) -> None:
    found = [
        principal_sentences(
            documents.tokens, documents.parts, RATE, sequential=sequential, unique=unique
        ).tobytes()
        for sequential in (False, True)
        for unique in (False, True)
    ]
    assert len(set(found)) == 4


# Number and choice of sentences


def test_thirty_percent_of_the_sentences_are_removed_but_never_none_or_all() -> None:
    counts = gap_counts(np.array([2, 3, 4, 5, 7, 10, 20]), RATE)
    assert counts.tolist() == [1, 1, 1, 2, 2, 3, 6]


def selections(texts: RealTexts) -> dict[str, np.ndarray]:
    return {
        "lead": lead_sentences(texts.parts, RATE),
        "random": random_sentences(texts.parts, RATE, keys_of(texts.lengths.size)),
        "principal": principal_sentences(texts.tokens, texts.parts, RATE),
        "sequential": principal_sentences(texts.tokens, texts.parts, RATE, sequential=True),
    }


def test_every_selection_removes_the_right_number_of_existing_sentences(
    documents: RealTexts,
) -> None:
    expected = [count_of(len(sentences)) for sentences in documents.sentences]
    for gaps in selections(documents).values():
        assert gaps.sum(axis=1).tolist() == expected
        assert not gaps[documents.parts == 0].any()


def test_lead_takes_the_first_sentences(documents: RealTexts) -> None:
    for gaps, sentences in zip(
        lead_sentences(documents.parts, RATE), documents.sentences, strict=True
    ):
        assert np.flatnonzero(gaps).tolist() == list(range(count_of(len(sentences))))


def test_random_takes_every_set_of_sentences_equally_often() -> None:
    texts = 12_000
    parts = np.tile([3, 1, 0, 2, 5], (texts, 1))
    gaps = random_sentences(parts, 0.5, keys_of(texts))
    found = Counter(map(tuple, np.argwhere(gaps)[:, 1].reshape(texts, 2).tolist()))
    assert set(found) == {(0, 1), (0, 3), (0, 4), (1, 3), (1, 4), (3, 4)}
    assert all(count == pytest.approx(2000, abs=220) for count in found.values())


@every_principal
def test_principal_may_take_the_last_sentence(sequential: bool, unique: bool) -> None:
    tokens = np.array([1, 2, 3, 4, 5, 6, 1, 3, 5])
    gaps = principal_sentences(
        tokens, np.array([[2, 2, 2, 3]]), RATE, sequential=sequential, unique=unique
    )
    assert gaps.tolist() == [[False, False, False, True]]


# Source and target


def test_the_text_is_restored_from_source_and_target(documents: RealTexts) -> None:
    each = documents.each
    for gaps in selections(documents).values():
        result = remove_sentences(documents.tokens, documents.parts, gaps, mask_id=MASK)
        sources = split(result.source, result.source_lengths)
        targets = split(result.target, result.target_lengths)
        for index, sentences in enumerate(documents.sentences):
            taken = iter(np.array([len(one) for one in sentences])[gaps[index, : len(sentences)]])
            left, text = targets[index], list[int]()
            for token in sources[index]:
                if token != MASK:
                    text.append(token)
                    continue
                length = next(taken)
                text, left = text + left[:length], left[length:]
            assert text == each[index]
            assert not left


def test_source_and_target_keep_the_order_of_a_small_example() -> None:
    gaps = np.array([[True, False, False, True], [False, True, False, False]])
    parts = np.array([[2, 1, 1, 2], [1, 2, 1, 0]])
    result = remove_sentences(np.arange(10), parts, gaps, mask_id=MASK)
    assert result.source.tolist() == [MASK, 2, 3, MASK, 6, MASK, 9]
    assert result.source_lengths.tolist() == [4, 3]
    assert result.target.tolist() == [0, 1, 4, 5, 7, 8]
    assert result.target_lengths.tolist() == [4, 2]


def test_sides_are_never_longer_than_their_bounds(documents: RealTexts) -> None:
    parts = documents.parts
    bounds = max_gap_side_lengths(parts[parts > 0], (parts > 0).sum(axis=1), RATE)
    for gaps in selections(documents).values():
        result = remove_sentences(documents.tokens, documents.parts, gaps, mask_id=MASK)
        assert (result.source_lengths <= bounds[:, 0]).all()
        assert (result.target_lengths <= bounds[:, 1]).all()


def test_the_bounds_of_the_sides_are_tight() -> None:
    lengths, sentences = np.array([4, 1, 2, 9, 3, 5]), np.array([4, 2])
    sides = max_gap_side_lengths(lengths, sentences, 0.5)
    assert sides.tolist() == [[16 - 3 + 2, 13], [8 - 3 + 1, 5]]


# Dependence on batch and epoch


def test_a_text_has_the_same_gaps_in_any_batch(documents: RealTexts) -> None:
    chosen = np.array([30, 2, 41])
    some, whole = documents.some(chosen), selections(documents)
    parts, tokens = some.parts, some.tokens
    assert np.array_equal(random_sentences(parts, RATE, keys_of(chosen)), whole["random"][chosen])
    assert np.array_equal(principal_sentences(tokens, parts, RATE), whole["principal"][chosen])
    assert np.array_equal(
        principal_sentences(tokens, parts, RATE, sequential=True), whole["sequential"][chosen]
    )


def test_random_gaps_differ_between_epochs(documents: RealTexts) -> None:
    first, second = (
        random_sentences(documents.parts, RATE, keys_of(documents.lengths.size, epoch))
        for epoch in (0, 1)
    )
    assert not np.array_equal(first, second)
