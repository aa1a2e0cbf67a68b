from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptm.components.objectives.masking.choosing import choose_spans, choose_units, geometric_lengths
from ptm.components.objectives.masking.replacing import Replacement, replace_tokens
from ptm.components.objectives.masking.units import Units, token_units, word_units
from ptm.rng import stream_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64 = NDArray[np.int64]
    Flags = NDArray[np.bool_]

RATE = 0.15
# Examples of 0 to 12 words, each of 1 to 4 tokens.
BATCHES = st.lists(st.lists(st.integers(1, 4), max_size=12), min_size=1, max_size=6)


def keys_of(examples: int, *, seed: int = 1) -> NDArray[np.uint64]:
    return stream_keys(seed, np.arange(examples))


def ragged(batch: list[list[int]]) -> tuple[Flags, Flags, I64]:
    """(maskable, word starts, owner) of examples between special tokens, given their word sizes."""
    maskable, starts, owner = [], [], []
    for example, words in enumerate(batch):
        maskable += [False, *([True] * sum(words)), False]
        starts += [True, *(i == 0 for size in words for i in range(size)), True]
        owner += [example] * (sum(words) + 2)
    return np.array(maskable), np.array(starts), np.array(owner)


def tokens_alone(examples: int, length: int) -> Units:
    """`examples` of `length` maskable tokens each."""
    owner = np.repeat(np.arange(examples), length)
    return token_units(np.ones(owner.size, dtype=bool), owner, examples)


def runs(flags: Flags) -> I64:
    """Lengths of the runs of true values in every row of (E, N)."""
    padded = np.pad(flags, ((0, 0), (1, 1)))
    edges = np.diff(padded.astype(np.int8), axis=1)
    return np.argwhere(edges == -1)[:, 1] - np.argwhere(edges == 1)[:, 1]


# Units


@given(batch=BATCHES)
def test_every_maskable_token_is_a_token_unit(batch: list[list[int]]) -> None:
    maskable, _, owner = ragged(batch)
    units = token_units(maskable, owner, len(batch))
    assert (units.of_token[maskable] == np.arange(maskable.sum())).all()
    assert (units.of_token[~maskable] == -1).all()
    assert (units.owner == owner[maskable]).all()


@given(batch=BATCHES)
def test_a_word_unit_has_the_maskable_tokens_of_a_word(batch: list[list[int]]) -> None:
    maskable, starts, owner = ragged(batch)
    units = word_units(maskable, starts, owner, len(batch))
    assert units.size.tolist() == [size for words in batch for size in words]
    assert units.owner.tolist() == [e for e, words in enumerate(batch) for _ in words]
    assert (np.bincount(units.of_token[maskable], minlength=units.size.size) == units.size).all()


def test_a_word_ends_with_its_example() -> None:
    # The second example begins in the middle of a word, like a chunk of a long document.
    starts = np.array([True, False, False, True])
    units = word_units(np.ones(4, dtype=bool), starts, np.array([0, 0, 1, 1]), 2)
    assert units.of_token.tolist() == [0, 0, 1, 2]


# Tokens and words


@given(batch=BATCHES, rate=st.floats(0.01, 0.99), seed=st.integers(0, 100))
def test_exactly_the_rate_of_tokens_is_chosen_but_at_least_one(
    batch: list[list[int]], rate: float, seed: int
) -> None:
    maskable, _, owner = ragged(batch)
    units = token_units(maskable, owner, len(batch))
    chosen = choose_units(units, keys_of(len(batch), seed=seed), rate=rate, limit=None)
    for example, words in enumerate(batch):
        tokens = sum(words)
        expected = max(1, round(rate * tokens)) if tokens else 0
        assert chosen[units.owner == example].sum() == expected


@given(batch=BATCHES, rate=st.floats(0.01, 0.99), seed=st.integers(0, 100))
def test_words_meet_the_budget_and_exceed_it_by_less_than_one_word(
    batch: list[list[int]], rate: float, seed: int
) -> None:
    maskable, starts, owner = ragged(batch)
    units = word_units(maskable, starts, owner, len(batch))
    chosen = choose_units(units, keys_of(len(batch), seed=seed), rate=rate, limit=None)
    for example, words in enumerate(batch):
        mine = chosen & (units.owner == example)
        budget = max(1, round(rate * sum(words))) if words else 0
        assert budget <= units.size[mine].sum() < budget + max(words, default=1)


@given(batch=BATCHES, limit=st.integers(1, 6), seed=st.integers(0, 100))
def test_no_example_exceeds_the_limit(batch: list[list[int]], limit: int, seed: int) -> None:
    maskable, starts, owner = ragged(batch)
    units = word_units(maskable, starts, owner, len(batch))
    chosen = choose_units(units, keys_of(len(batch), seed=seed), rate=0.5, limit=limit)
    taken = np.bincount(units.owner[chosen], units.size[chosen], minlength=len(batch))
    assert (taken <= limit).all()


@given(batch=BATCHES, limit=st.integers(1, 6), seed=st.integers(0, 100))
def test_words_are_drawn_until_no_other_word_fits_under_the_limit(
    batch: list[list[int]], limit: int, seed: int
) -> None:
    maskable, starts, owner = ragged(batch)
    units = word_units(maskable, starts, owner, len(batch))
    chosen = choose_units(units, keys_of(len(batch), seed=seed), rate=0.5, limit=limit)
    for example, words in enumerate(batch):
        mine = units.owner == example
        budget = min(limit, max(1, round(0.5 * sum(words)))) if words else 0
        taken = units.size[mine & chosen].sum()
        if taken < budget:
            assert (taken + units.size[mine & ~chosen] > limit).all()


def test_all_tokens_are_equally_likely_to_be_chosen() -> None:
    examples, length = 4000, 20
    units = tokens_alone(examples, length)
    chosen = choose_units(units, keys_of(examples), rate=RATE, limit=None)
    share = chosen.reshape(examples, length).mean(axis=0)
    # Five standard deviations of a share of 3 in 20.
    assert np.abs(share - 3 / length).max() < 5 * np.sqrt(0.15 * 0.85 / examples)


# Spans


@pytest.mark.parametrize(("p", "longest", "mean"), [(0.2, 10, 3.80), (0.3, 5, 2.32)])
def test_span_lengths_have_the_mean_of_the_truncated_geometric(
    p: float, longest: int, mean: float
) -> None:
    examples, length = 200, 1000
    spans = choose_spans(
        tokens_alone(examples, length),
        keys_of(examples),
        rate=RATE,
        limit=None,
        p=p,
        longest=longest,
    )
    # Spans never touch, so a run of chosen tokens is one span.
    lengths = runs((spans >= 0).reshape(examples, length))
    assert lengths.mean() == pytest.approx(mean, abs=0.08)
    shares = np.bincount(lengths, minlength=longest + 1)[1:] / lengths.size
    assert shares == pytest.approx(geometric_lengths(p, longest), abs=0.02)
    assert lengths.max() == longest


@given(
    batch=BATCHES,
    seed=st.integers(0, 100),
    rate=st.floats(0.01, 0.9),
    whole=st.booleans(),
    longest=st.integers(1, 12),
)
def test_spans_are_runs_of_units_that_never_touch(
    batch: list[list[int]], seed: int, rate: float, whole: bool, longest: int
) -> None:
    maskable, starts, owner = ragged(batch)
    count = len(batch)
    units = (
        word_units(maskable, starts, owner, count) if whole else token_units(maskable, owner, count)
    )
    spans = choose_spans(
        units, keys_of(count, seed=seed), rate=rate, limit=None, p=0.2, longest=longest
    )
    for span in np.unique(spans[spans >= 0]):
        members = np.flatnonzero(spans == span)
        assert members.size <= longest
        assert (np.diff(members) == 1).all()
        assert len(set(units.owner[members].tolist())) == 1
    touching = (spans[1:] >= 0) & (spans[:-1] >= 0) & (spans[1:] != spans[:-1])
    assert not (touching & (units.owner[1:] == units.owner[:-1])).any()


@given(batch=BATCHES, seed=st.integers(0, 100))
def test_every_example_with_text_has_a_span(batch: list[list[int]], seed: int) -> None:
    maskable, _, owner = ragged(batch)
    units = token_units(maskable, owner, len(batch))
    spans = choose_spans(
        units, keys_of(len(batch), seed=seed), rate=RATE, limit=None, p=0.2, longest=10
    )
    for example, words in enumerate(batch):
        assert (spans[units.owner == example] >= 0).any() == bool(words)


@pytest.mark.parametrize("limit", [1, 3, 20])
def test_spans_under_a_limit_leave_at_least_one_target(limit: int) -> None:
    examples, length = 500, 100
    spans = choose_spans(
        tokens_alone(examples, length), keys_of(examples), rate=RATE, limit=limit, p=0.2, longest=10
    )
    hidden = (spans >= 0).reshape(examples, length).sum(axis=1)
    assert hidden.max() <= limit
    assert hidden.min() >= 1


def test_spans_under_a_limit_are_as_likely_late_as_early_in_an_example() -> None:
    examples, length = 2000, 100
    spans = choose_spans(
        tokens_alone(examples, length), keys_of(examples), rate=0.3, limit=10, p=0.2, longest=10
    )
    shares = (spans >= 0).reshape(examples, length).mean(axis=0)
    assert shares[50:].mean() == pytest.approx(shares[:50].mean(), rel=0.1)


def test_spans_are_as_likely_late_as_early_in_an_example() -> None:
    examples, length = 2000, 100
    spans = choose_spans(
        tokens_alone(examples, length), keys_of(examples), rate=RATE, limit=None, p=0.2, longest=10
    )
    shares = (spans >= 0).reshape(examples, length).mean(axis=0)
    assert shares[50:].mean() == pytest.approx(shares[:50].mean(), rel=0.05)


# Replacement

ORDINARY = np.array([11, 13, 17, 19, 23, 29, 31, 37, 41, 43])
MASK, TOKEN = 4, 99


def replaced(
    chosen: Flags, group: I64, *, mask: float = 0.8, random: float = 0.1, examples: int = 1
) -> I64:
    """The input ids (E, N), where every original token is TOKEN."""
    owner = np.repeat(np.arange(examples), chosen.size // examples)
    inputs = replace_tokens(
        np.full(chosen.size, TOKEN),
        chosen,
        group,
        owner,
        keys_of(examples),
        Replacement(mask_share=mask, random_share=random, mask_id=MASK, ordinary_ids=ORDINARY),
    )
    return inputs.reshape(examples, -1)


def test_80_percent_are_masked_10_randomised_10_unchanged() -> None:
    examples, length = 1000, 100
    group = np.tile(np.arange(length), examples)
    inputs = replaced(np.ones(group.size, dtype=bool), group, examples=examples)
    # Five standard deviations of a share of 100,000 draws are 0.0063 at most.
    assert (inputs == MASK).mean() == pytest.approx(0.8, abs=0.0065)
    assert (inputs == TOKEN).mean() == pytest.approx(0.1, abs=0.005)
    assert np.isin(inputs, ORDINARY).mean() == pytest.approx(0.1, abs=0.005)


@pytest.mark.parametrize(
    ("mask", "random", "kept"), [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0, 0.5)]
)
def test_the_shares_of_the_recipe_are_met(mask: float, random: float, kept: float) -> None:
    group = np.arange(20_000)
    inputs = replaced(np.ones(group.size, dtype=bool), group, mask=mask, random=random)
    assert (inputs == MASK).mean() == pytest.approx(mask, abs=0.02)
    assert np.isin(inputs, ORDINARY).mean() == pytest.approx(random, abs=0.02)
    assert (inputs == TOKEN).mean() == pytest.approx(kept, abs=0.02)


def test_random_tokens_are_uniform_over_the_ordinary_tokens() -> None:
    group = np.arange(100_000)
    inputs = replaced(np.ones(group.size, dtype=bool), group, mask=0, random=1)
    assert set(np.unique(inputs)) == set(ORDINARY.tolist())
    counts = np.bincount(inputs.ravel())[ORDINARY]
    expected = group.size / ORDINARY.size
    # Chi-square with 9 degrees of freedom: 99.99 percent are below 33.7.
    assert ((counts - expected) ** 2 / expected).sum() < 33.7


def test_tokens_that_are_not_chosen_are_unchanged() -> None:
    chosen = np.arange(1000) % 7 == 0
    inputs = replaced(chosen, np.arange(1000), mask=1, random=0)
    assert ((inputs[0] == MASK) == chosen).all()
    assert (inputs[0][~chosen] == TOKEN).all()


def test_a_group_is_replaced_alike_but_with_different_random_tokens() -> None:
    examples, length = 2000, 4
    group = np.zeros(examples * length, dtype=np.int64)
    inputs = replaced(np.ones(group.size, dtype=bool), group, examples=examples)
    masked, kept = (inputs == MASK), (inputs == TOKEN)
    assert (masked.all(axis=1) | ~masked.any(axis=1)).all()
    assert (kept.all(axis=1) | ~kept.any(axis=1)).all()
    random = inputs[~masked[:, 0] & ~kept[:, 0]]
    assert len(random) > 100
    assert (random[:, 0] != random[:, 1]).mean() > 0.8
