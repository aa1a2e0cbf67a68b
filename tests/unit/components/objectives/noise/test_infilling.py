from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ptm.components.objectives.noise import Infilling, NoisedTexts, infill
from ptm.components.objectives.noise.geometric_infilling import GeometricInfilling
from ptm.components.objectives.noise.infilling import shuffle_sentences
from ptm.components.objectives.noise.poisson_infilling import PoissonInfilling
from tests.unit.components.objectives.noise.conftest import RealTexts, keys_of, split

MASK = 10**6
KINDS: dict[str, Infilling] = {
    "poisson": PoissonInfilling(),
    "seed": GeometricInfilling(lengths="geometric", rate=0.15),
    "nearly all": PoissonInfilling(rate=0.9),
}
every_kind = pytest.mark.parametrize("noise", KINDS.values(), ids=KINDS.keys())


def noised(noise: Infilling, texts: RealTexts, epoch: int = 0) -> NoisedTexts:
    keys = keys_of(texts.lengths.size, epoch)
    return infill(texts.tokens, texts.parts, noise, keys, mask_id=MASK)


def orders(texts: RealTexts, epoch: int = 0) -> list[list[int]]:
    """The tokens of the texts with their sentences shuffled."""
    keys = keys_of(texts.lengths.size, epoch)
    return split(shuffle_sentences(texts.tokens, texts.parts, keys), texts.lengths)


# Nothing is lost


@every_kind
def test_the_target_is_the_text(noise: Infilling, documents: RealTexts) -> None:
    result = noised(noise, documents)
    assert np.array_equal(result.target, documents.tokens)
    assert np.array_equal(result.target_lengths, documents.lengths)


@every_kind
def test_unmasked_tokens_are_those_of_the_permuted_text_in_order(
    noise: Infilling, documents: RealTexts
) -> None:
    result = noised(noise, documents)
    spans = noise.draw(documents.lengths, keys_of(documents.lengths.size))
    noise_counts = np.zeros(documents.tokens.size, dtype=bool)
    noise_counts[spans.tokens] = True
    flags = split(noise_counts, documents.lengths)
    sources = split(result.source, result.source_lengths)
    for source, text, masked in zip(sources, orders(documents), flags, strict=True):
        expected = [token for token, gone in zip(text, masked, strict=True) if not gone]
        assert [token for token in source if token != MASK] == expected


@every_kind
def test_every_span_is_replaced_by_one_mask(noise: Infilling, documents: RealTexts) -> None:
    result = noised(noise, documents)
    spans = noise.draw(documents.lengths, keys_of(documents.lengths.size))
    texts, first = orders(documents), np.cumsum(documents.lengths) - documents.lengths
    rebuilt: list[list[int]] = [[] for _ in texts]
    position = dict.fromkeys(range(len(texts)), 0)
    for owner, start, length in zip(
        spans.owner.tolist(), spans.starts.tolist(), spans.lengths.tolist(), strict=True
    ):
        begin = start - int(first[owner])
        rebuilt[owner] += [*texts[owner][position[owner] : begin], MASK]
        position[owner] = begin + length
    for owner, text in enumerate(texts):
        rebuilt[owner] += text[position[owner] :]
    assert rebuilt == split(result.source, result.source_lengths)


def test_permutation_keeps_sentences_whole(documents: RealTexts) -> None:
    changed = 0
    for sentences, text in zip(documents.sentences, orders(documents), strict=True):
        left, place = Counter(tuple(sentence) for sentence in sentences), 0
        while place < len(text):
            fitting = [one for one in left if tuple(text[place : place + len(one)]) == one]
            best = max(fitting, key=len)
            left[best] -= 1
            if not left[best]:
                del left[best]
            place += len(best)
        assert not left
        changed += text != [token for sentence in sentences for token in sentence]
    assert changed > len(documents.sentences) / 4


def test_all_orders_of_sentences_are_equally_likely() -> None:
    texts = 12_000
    tokens = np.tile([1, 2, 2, 3], texts)
    parts = np.tile([1, 2, 0, 1], (texts, 1))
    found = Counter(
        map(tuple, split(shuffle_sentences(tokens, parts, keys_of(texts)), np.full(texts, 4)))
    )
    assert len(found) == 6
    assert all(count == pytest.approx(2000, abs=220) for count in found.values())


def test_sentences_keep_their_order_with_permute_sentences_false(documents: RealTexts) -> None:
    noise = PoissonInfilling(permute_sentences=False)
    result = noised(noise, documents)
    sources = split(result.source, result.source_lengths)
    for source, text in zip(sources, documents.each, strict=True):
        rest = iter(text)
        assert all(token in rest for token in source if token != MASK)


# Amount of noise


@every_kind
def test_exactly_the_rate_of_the_tokens_is_hidden(noise: Infilling, documents: RealTexts) -> None:
    result = noised(noise, documents)
    for source, length in zip(
        split(result.source, result.source_lengths), documents.lengths.tolist(), strict=True
    ):
        kept = sum(token != MASK for token in source)
        assert length - kept == min(max(round(noise.rate * length), 1), length - 1)


def test_poisson_lengths_have_the_distribution_of_the_paper() -> None:
    lengths = np.full(300, 1000)
    spans = PoissonInfilling().draw(lengths, keys_of(300))
    shares = np.bincount(spans.lengths, minlength=6)[:6] / spans.lengths.size
    # 30,000 spans of Poisson(3); the last span of each text is cut.
    assert shares == pytest.approx([0.0498, 0.1494, 0.2240, 0.2240, 0.1680, 0.1008], abs=0.008)
    assert spans.lengths.mean() == pytest.approx(3, rel=0.02)


def test_seed_lengths_are_geometric_up_to_three() -> None:
    lengths = np.full(300, 1000)
    spans = KINDS["seed"].draw(lengths, keys_of(300))
    shares = np.bincount(spans.lengths) / spans.lengths.size
    assert shares == pytest.approx([0, 0.4098, 0.3279, 0.2623], abs=0.008)


@every_kind
def test_the_source_is_never_longer_than_the_text(noise: Infilling) -> None:
    lengths = np.arange(1, 400)
    texts = RealTexts(np.arange(int(lengths.sum())), lengths[:, None], 0)
    bounds = noise.longest_sides(lengths)
    for epoch in range(5):
        result = noised(noise, texts, epoch)
        assert (result.source_lengths <= bounds[:, 0]).all()
        assert (result.target_lengths == bounds[:, 1]).all()


# Positions


def test_empty_spans_may_be_at_any_position() -> None:
    # 8 kept and 4 noise tokens: an empty span may be at any of the 13 positions.
    texts = 4000
    lengths = np.full(texts, 12)
    spans = PoissonInfilling(rate=0.34).draw(lengths, keys_of(texts))
    empty = spans.lengths == 0
    places = spans.starts[empty] - 12 * spans.owner[empty]
    assert set(places.tolist()) == set(range(13))


def test_all_orders_of_spans_and_kept_tokens_are_equally_likely() -> None:
    # 2 noise tokens in spans of one token, 3 kept tokens: 10 orders.
    noise = GeometricInfilling(lengths="geometric", rate=0.4, geometric_p=0.999, max_length=1)
    texts = 20_000
    lengths = np.full(texts, 5)
    spans = noise.draw(lengths, keys_of(texts))
    found = Counter(map(tuple, split(spans.tokens % 5, spans.noise_counts(texts))))
    assert len(found) == 10
    assert all(count == pytest.approx(2000, abs=220) for count in found.values())


# Dependence on batch and epoch


@every_kind
def test_a_text_has_the_same_noise_in_any_batch(noise: Infilling, documents: RealTexts) -> None:
    chosen = np.array([21, 2, 40])
    whole, some = noised(noise, documents), documents.some(chosen)
    sources = split(whole.source, whole.source_lengths)
    result = infill(some.tokens, some.parts, noise, keys_of(chosen), mask_id=MASK)
    assert split(result.source, result.source_lengths) == [sources[one] for one in chosen]


def test_epochs_have_different_noise(documents: RealTexts) -> None:
    first, second = (noised(PoissonInfilling(), documents, epoch).source for epoch in (0, 1))
    assert not np.array_equal(first, second)
