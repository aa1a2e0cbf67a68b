from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from pydantic import ValidationError

from ptm.components.objectives.noise import NoisedTexts, SpanNoise, Spans, corrupt_spans
from ptm.components.objectives.noise.geometric_spans import GeometricSpans
from ptm.components.objectives.noise.t5_spans import T5Spans
from ptm.components.objectives.noise.token_spans import TokenSpans
from tests.unit.components.objectives.noise.conftest import RealTexts, keys_of, split

KINDS: dict[str, SpanNoise] = {
    "paper": T5Spans(),
    "paper, half": T5Spans(rate=0.5, mean_length=1.0),
    "paper, rolled": T5Spans(random_roll=True),
    "rolled, half": T5Spans(rate=0.5, mean_length=1.0, random_roll=True),
    "geometric": GeometricSpans(spans="geometric"),
    "seed": GeometricSpans(spans="geometric", geometric_p=0.3, max_length=5),
    "geometric, half": GeometricSpans(spans="geometric", rate=0.5, geometric_p=0.9),
    "token": TokenSpans(spans="token"),
    "token, half": TokenSpans(spans="token", rate=0.5),
}
every_kind = pytest.mark.parametrize("noise", KINDS.values(), ids=KINDS.keys())
SENTINELS = 200


def noised(noise: SpanNoise, texts: RealTexts, epoch: int = 0) -> NoisedTexts:
    spans = noise.draw(texts.lengths, keys_of(texts.lengths.size, epoch))
    # Sentinels follow all other tokens, as in a vocabulary file.
    sentinels = texts.vocabulary_size + np.arange(SENTINELS)
    return corrupt_spans(texts.tokens, texts.lengths, spans, sentinels)


def restored(source: list[int], target: list[int], first_sentinel: int) -> list[int]:
    """The original text, restored from source and target."""
    answers: dict[int, list[int]] = {}
    current: list[int] = []
    for token in target:
        if token >= first_sentinel:
            current = answers[token] = []
        else:
            current.append(token)
    text: list[int] = []
    for token in source:
        text += answers[token] if token >= first_sentinel else [token]
    return text


# Nothing is lost


@every_kind
def test_the_text_is_restored_from_source_and_target(noise: SpanNoise, pieces: RealTexts) -> None:
    result = noised(noise, pieces)
    sources = split(result.source, result.source_lengths)
    targets = split(result.target, result.target_lengths)
    for text, source, target in zip(pieces.each, sources, targets, strict=True):
        assert restored(source, target, pieces.vocabulary_size) == text


@every_kind
def test_sentinels_are_used_in_order_and_one_more_closes_the_target(
    noise: SpanNoise, pieces: RealTexts
) -> None:
    result = noised(noise, pieces)
    first = pieces.vocabulary_size
    for source, target in zip(
        split(result.source, result.source_lengths),
        split(result.target, result.target_lengths),
        strict=True,
    ):
        used = [token - first for token in source if token >= first]
        assert used == list(range(len(used)))
        assert [token - first for token in target if token >= first] == [*used, len(used)]
        assert target[-1] == first + len(used)


def test_the_example_of_the_paper_is_reproduced() -> None:
    # "Thank you for inviting me to your party last week": "for inviting" and "last" are noise.
    spans = Spans(np.array([0, 0]), np.array([2, 8]), np.array([2, 1]))
    result = corrupt_spans(np.arange(10), np.array([10]), spans, np.array([90, 91, 92]))
    assert result.source.tolist() == [0, 1, 90, 4, 5, 6, 7, 91, 9]
    assert result.target.tolist() == [90, 2, 3, 91, 8, 92]
    assert (result.source_lengths.tolist(), result.target_lengths.tolist()) == ([9], [6])


# Amount of noise


@every_kind
def test_exactly_the_rate_of_the_tokens_is_noise(noise: SpanNoise, pieces: RealTexts) -> None:
    lengths = pieces.lengths
    spans = noise.draw(lengths, keys_of(lengths.size))
    rate = noise.model_dump()["rate"]
    expected = [min(max(round(rate * n), 1), n - 1) for n in lengths.tolist()]
    assert spans.noise_counts(lengths.size).tolist() == expected
    assert noise.noise_counts(lengths).tolist() == expected


def test_the_number_of_paper_spans_follows_from_the_mean_length(pieces: RealTexts) -> None:
    lengths = pieces.lengths
    spans = T5Spans().draw(lengths, keys_of(lengths.size))
    noise_counts = spans.noise_counts(lengths.size)
    expected = [max(1, round(n / 3)) if n else 0 for n in noise_counts.tolist()]
    assert spans.counts(lengths.size).tolist() == expected
    long = lengths >= 100
    assert noise_counts[long].sum() / sum(np.array(expected)[long]) == pytest.approx(3, abs=0.1)


def test_sides_of_512_and_114_hold_568_tokens_as_in_the_reference() -> None:
    # T5 cuts texts to 568 tokens for sides of 512 and 114, each with an end token, but without a
    # closing sentinel.
    source, target = T5Spans().max_side_lengths(np.array([568]))[0]
    assert (source + 1, target - 1 + 1) == (512, 114)


@pytest.mark.parametrize(("p", "longest", "mean"), [(0.2, 10, 3.797), (0.3, 5, 2.326)])
def test_geometric_lengths_have_their_mean(
    p: float, longest: int, mean: float, pieces: RealTexts
) -> None:
    noise = GeometricSpans(spans="geometric", geometric_p=p, max_length=longest)
    lengths = np.full(400, 2000)
    spans = noise.draw(lengths, keys_of(lengths.size))
    assert spans.lengths.max() == longest
    # 30,000 spans; the last span of each text is cut.
    assert spans.lengths.mean() == pytest.approx(mean, rel=0.02)


@every_kind
def test_sides_are_never_longer_than_their_bounds(noise: SpanNoise, pieces: RealTexts) -> None:
    bounds = noise.max_side_lengths(pieces.lengths)
    result = noised(noise, pieces)
    sides = np.stack([result.source_lengths, result.target_lengths], axis=1)
    assert (sides <= bounds).all()
    counts = noise.draw(pieces.lengths, keys_of(pieces.lengths.size)).counts(pieces.lengths.size)
    assert (counts < noise.max_sentinels(pieces.lengths)).all()
    if isinstance(noise, T5Spans) and not noise.random_roll:
        assert np.array_equal(sides, bounds)


# Positions


@every_kind
def test_spans_never_touch(noise: SpanNoise, pieces: RealTexts) -> None:
    spans = noise.draw(pieces.lengths, keys_of(pieces.lengths.size))
    same = spans.owner[1:] == spans.owner[:-1]
    assert (spans.starts[1:] > (spans.starts + spans.lengths)[:-1])[same].all()
    assert (spans.lengths > 0).all()


def test_with_paper_spans_a_text_begins_with_a_kept_token_and_ends_with_noise(
    pieces: RealTexts,
) -> None:
    lengths = pieces.lengths
    spans = T5Spans().draw(lengths, keys_of(lengths.size))
    ends = np.cumsum(lengths)
    assert not np.isin((ends - lengths)[lengths > 1], spans.starts).any()
    assert np.isin(ends[lengths > 1], spans.starts + spans.lengths).all()


def masks(noise: SpanNoise, length: int, draws: int) -> Counter[tuple[int, ...]]:
    """How often each set of positions is drawn as noise."""
    lengths = np.full(draws, length)
    spans = noise.draw(lengths, keys_of(draws))
    places = split(spans.tokens % length, spans.noise_counts(draws))
    return Counter(tuple(place) for place in places)


def test_all_segmentations_of_paper_spans_are_equally_likely() -> None:
    # 9 tokens, 3 of them noise, 2 spans: 2 ways to cut the noise, 5 to cut the kept tokens.
    found = masks(T5Spans(rate=0.34, mean_length=1.5), 9, 20_000)
    assert len(found) == 10
    assert all(count == pytest.approx(2000, abs=220) for count in found.values())


def test_a_random_roll_moves_the_noise_to_every_position() -> None:
    # 6 tokens, 2 of them noise in one span, which may wrap around the end.
    found = masks(T5Spans(rate=0.34, random_roll=True), 6, 12_000)
    assert set(found) == {(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5)}
    assert all(count == pytest.approx(2000, abs=220) for count in found.values())


def test_all_positions_are_equally_likely_for_token_noise() -> None:
    found = masks(TokenSpans(spans="token", rate=0.4), 5, 20_000)
    assert set(found) == set(combinations(range(5), 2))
    assert all(count == pytest.approx(2000, abs=220) for count in found.values())


def test_geometric_spans_may_be_anywhere_in_a_text() -> None:
    noise = GeometricSpans(spans="geometric", rate=0.4, geometric_p=0.999, max_length=1)
    found = masks(noise, 5, 12_000)
    apart = {pair for pair in combinations(range(5), 2) if pair[1] - pair[0] > 1}
    assert set(found) == apart
    assert all(count == pytest.approx(2000, abs=220) for count in found.values())


@every_kind
def test_a_text_of_one_token_is_kept(noise: SpanNoise) -> None:
    lengths = np.array([1, 2, 1])
    spans = noise.draw(lengths, keys_of(3))
    result = corrupt_spans(np.arange(4), lengths, spans, np.array([10, 11]))
    assert result.source_lengths.tolist() == [1, 2, 1]
    assert result.target_lengths.tolist() == [1, 3, 1]
    assert result.source[[0, 3]].tolist() == [0, 3]


# Dependence on batch and epoch


@every_kind
def test_a_text_has_the_same_noise_in_any_batch(noise: SpanNoise, pieces: RealTexts) -> None:
    lengths = pieces.lengths
    chosen = np.array([17, 3, 99, 4])
    spans = noise.draw(lengths, keys_of(lengths.size))
    some = noise.draw(lengths[chosen], keys_of(chosen))
    first, first_of_some = np.cumsum(lengths) - lengths, np.cumsum(lengths[chosen])
    for index, text in enumerate(chosen.tolist()):
        mine, its = some.owner == index, spans.owner == text
        begin = first_of_some[index] - lengths[text]
        assert np.array_equal(some.starts[mine] - begin, spans.starts[its] - first[text])
        assert np.array_equal(some.lengths[mine], spans.lengths[its])


@every_kind
def test_epochs_have_different_noise(noise: SpanNoise, pieces: RealTexts) -> None:
    first, second = (noised(noise, pieces, epoch).source for epoch in (0, 1))
    assert not np.array_equal(first, second)


def test_a_rate_above_half_is_rejected_if_spans_must_not_touch() -> None:
    with pytest.raises(ValidationError):
        TokenSpans(spans="token", rate=0.6)
