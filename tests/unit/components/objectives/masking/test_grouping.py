from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptm.arrays import visited
from ptm.components.objectives.masking.grouping import PhraseTrie, inner_phrase_tokens, ngram_units
from ptm.components.objectives.masking.units import Units, token_units, word_units
from ptm.rng import stream_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64 = NDArray[np.int64]
    Flags = NDArray[np.bool_]

VOCABULARY = 5
# Few distinct tokens, so that phrases occur, overlap and contain each other. None is a token that
# belongs to no phrase.
PHRASES = st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=5), min_size=1, max_size=8)
TEXT = st.lists(st.one_of(st.integers(0, 3), st.none()), max_size=30)


def inside(
    phrases: list[list[int]], text: list[int | None], may_begin: list[bool] | None = None
) -> list[bool]:
    ids = np.array([4 if token is None else token for token in text], dtype=np.int64)
    broken = ids == 4
    flags = inner_phrase_tokens(
        PhraseTrie.of(phrases, VOCABULARY),
        ids,
        np.where(broken, -1, np.cumsum(broken)),
        np.ones(ids.size, dtype=bool) if may_begin is None else np.array(may_begin, dtype=bool),
    )
    return flags.tolist()


def inside_by_search(
    phrases: list[list[int]], text: list[int | None], may_begin: list[bool]
) -> list[bool]:
    """The expected result of `inside`: a search one by one, longest first, from the left."""
    taken, inner = [False] * len(text), [False] * len(text)
    for length in sorted({len(phrase) for phrase in phrases}, reverse=True):
        for start in range(len(text) - length + 1):
            end = start + length
            if text[start:end] not in phrases or any(taken[start:end]) or not may_begin[start]:
                continue
            if end < len(text) and text[end] is not None and not may_begin[end]:
                continue
            taken[start:end] = [True] * length
            inner[start + 1 : end] = [True] * (length - 1)
    return inner


@given(phrases=PHRASES, text=TEXT, flags=st.lists(st.booleans(), min_size=30, max_size=30))
def test_phrases_match_a_greedy_search_longest_first_from_the_left(
    phrases: list[list[int]], text: list[int | None], flags: list[bool]
) -> None:
    everywhere = [True] * len(text)
    assert inside(phrases, text) == inside_by_search(phrases, text, everywhere)
    some = flags[: len(text)]
    assert inside(phrases, text, some) == inside_by_search(phrases, text, some)


def test_the_longest_of_overlapping_phrases_is_chosen() -> None:
    assert inside([[0, 1], [1, 2, 3]], [0, 1, 2, 3]) == [False, False, True, True]


def test_the_leftmost_of_equally_long_overlapping_phrases_is_chosen() -> None:
    assert inside([[0, 0]], [0, 0, 0, 0, 0]) == [False, True, False, True, False]


def test_a_phrase_within_a_phrase_is_part_of_it() -> None:
    assert inside([[1, 2], [0, 1, 2, 3]], [0, 1, 2, 3]) == [False, True, True, True]


def test_a_phrase_never_contains_a_token_between_segments() -> None:
    assert inside([[0, 1]], [0, None, 1, 0, 1]) == [False, False, False, False, True]


def test_a_phrase_ends_with_its_segment() -> None:
    # Like the border between two examples without a special token.
    flags = inner_phrase_tokens(
        PhraseTrie.of([[0, 1]], VOCABULARY),
        np.array([0, 1, 0, 1]),
        np.array([0, 1, 1, 1]),
        np.ones(4, dtype=bool),
    )
    assert flags.tolist() == [False, False, False, True]


def test_a_phrase_does_not_end_inside_a_word() -> None:
    assert inside([[0, 1]], [0, 1, 2], [True, True, False]) == [False] * 3
    assert inside([[0, 1]], [0, 1, 2], [True, True, True]) == [False, True, False]


@given(phrases=PHRASES, seed=st.integers(0, 9))
def test_the_fingerprint_depends_on_the_set_of_phrases_only(
    phrases: list[list[int]], seed: int
) -> None:
    shuffled = [phrases[i] for i in np.random.default_rng(seed).permutation(len(phrases))]
    trie = PhraseTrie.of(phrases, VOCABULARY)
    assert PhraseTrie.of([*shuffled, phrases[0]], VOCABULARY).fingerprint == trie.fingerprint
    more = [*phrases, [0, 1, 2, 3, 0, 1]]
    assert PhraseTrie.of(more, VOCABULARY).fingerprint != trie.fingerprint


@given(steps=st.lists(st.integers(1, 6), max_size=40), roots=st.sets(st.integers(0, 39)))
def test_visited_equals_following_the_steps_one_by_one(steps: list[int], roots: set[int]) -> None:
    count = len(steps)
    following = [min(i + step, count) for i, step in enumerate(steps)]
    begin = sorted(root for root in roots if root < count)
    met = [False] * count
    for root in begin:
        at = root
        while at < count:
            met[at] = True
            at = following[at]
    found = visited(np.array(following, dtype=np.int64), np.array(begin, dtype=np.int64))
    assert found.tolist() == met


# N-grams


def plain_units(examples: int, length: int, *, special_every: int | None = None) -> Units:
    maskable = np.ones(examples * length, dtype=bool)
    if special_every:
        maskable[::special_every] = False
    return token_units(maskable, np.repeat(np.arange(examples), length), examples)


def keys_of(examples: int) -> NDArray[np.uint64]:
    return stream_keys(3, np.arange(examples))


@pytest.mark.parametrize("longest", [1, 2, 3, 5])
def test_ngram_lengths_have_weights_one_over_n(longest: int) -> None:
    sizes = ngram_units(plain_units(200, 500), keys_of(200), longest).size
    shares = np.bincount(sizes, minlength=longest + 1)[1:] / sizes.size
    weights = 1 / np.arange(1, longest + 1)
    # About 45,000 n-grams: five standard deviations are 0.012. The last n-gram of an example may be
    # cut short.
    assert shares == pytest.approx(weights / weights.sum(), abs=0.012)


def test_ngrams_begin_equally_often_at_every_token_after_the_first_ones() -> None:
    units = ngram_units(plain_units(8000, 30), keys_of(8000), 3)
    begins = np.diff(units.of_token, prepend=-1).reshape(8000, 30) > 0
    # The mean length is 18/11; five standard deviations of a share of 8000 are 0.028.
    assert begins[:, 6:].mean(axis=0) == pytest.approx(np.full(24, 11 / 18), abs=0.028)


def test_ngrams_never_cross_a_special_token_or_the_end_of_an_example() -> None:
    units = plain_units(50, 21, special_every=4)
    grams = ngram_units(units, keys_of(50), 5)
    of_gram = grams.of_token[grams.of_token >= 0]
    for key in (units.owner, units.run):
        first = np.full(grams.size.size, -1)
        first[of_gram] = key
        assert (first[of_gram] == key).all()
    assert grams.size.max() > 1


def test_ngrams_of_words_count_words() -> None:
    starts = np.tile([True, False], 500)
    words = word_units(np.ones(1000, dtype=bool), starts, np.zeros(1000, dtype=np.int64), 1)
    grams = ngram_units(words, keys_of(1), 3)
    assert set(grams.size.tolist()) == {2, 4, 6}
    assert grams.size.sum() == 1000


def test_the_ngrams_of_an_example_do_not_depend_on_its_batch() -> None:
    keys = keys_of(5)
    together = ngram_units(plain_units(5, 40), keys, 3)
    for example in range(5):
        alone = ngram_units(plain_units(1, 40), keys[example : example + 1], 3)
        assert alone.size.tolist() == together.size[together.owner == example].tolist()


def test_an_empty_batch_has_no_ngrams() -> None:
    assert ngram_units(plain_units(0, 0), keys_of(0), 3).size.size == 0
