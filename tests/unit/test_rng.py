from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ptm.rng import below, draws, mix64, seed_of, stream_keys, substream, uniform


def test_a_seed_depends_on_all_parts_and_their_order() -> None:
    seeds = {
        seed_of(1, "a"),
        seed_of("a", 1),
        seed_of("1", "a"),
        seed_of(1, "a", 0),
        seed_of(1, "b"),
        seed_of(2, "a"),
        seed_of("1a"),
    }
    assert len(seeds) == 7


def test_a_seed_is_the_same_in_every_process() -> None:
    show = "from ptm.rng import seed_of; print(seed_of(7, 'masking', 'train'))"
    done = subprocess.run([sys.executable, "-c", show], check=True, capture_output=True, text=True)
    assert int(done.stdout) == seed_of(7, "masking", "train")


@given(values=st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=50))
def test_mixing_maps_different_values_to_different_values(values: list[int]) -> None:
    mixed = mix64(np.array(values, dtype=np.uint64))
    assert len(set(mixed.tolist())) == len(values)


def test_flipping_one_input_bit_flips_half_of_the_output_bits() -> None:
    values = np.arange(1000, dtype=np.uint64)
    for bit in range(64):
        changed = mix64(values) ^ mix64(values ^ np.uint64(1 << bit))
        flipped = np.unpackbits(changed.view(np.uint8)).mean() * 64
        assert 30 < flipped < 34


def test_a_stream_does_not_depend_on_other_streams_of_the_call() -> None:
    ids = np.arange(100)
    assert stream_keys(7, ids)[42] == stream_keys(7, np.array([42]))[0]


def test_streams_differ_by_seed_and_by_each_id() -> None:
    first, second = np.meshgrid(np.arange(50), np.arange(50))
    keys = [stream_keys(seed, first.ravel(), second.ravel()) for seed in (7, 8)]
    assert np.unique(np.concatenate(keys)).size == 2 * 50 * 50


def test_substreams_are_independent_of_their_stream() -> None:
    keys = stream_keys(7, np.arange(10_000))
    first, second = (uniform(draws(substream(keys, p), np.zeros(1, int))) for p in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.04


def test_draws_are_uniform() -> None:
    keys = stream_keys(7, np.array([0]))
    values = uniform(draws(keys, np.arange(100_000)))
    assert values.min() >= 0
    assert values.max() < 1
    counts, _ = np.histogram(values, bins=20, range=(0, 1))
    # Chi-square with 19 degrees of freedom: 99.99 percent of values are below 50.8.
    assert ((counts - 5000) ** 2 / 5000).sum() < 50.8


def test_neighbouring_draws_and_streams_are_uncorrelated() -> None:
    along = uniform(draws(stream_keys(7, np.array([0])), np.arange(10_000)))
    across = uniform(draws(stream_keys(7, np.arange(10_000)), np.zeros(1, int)))
    for values in (along, across):
        assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.04


@given(bound=st.integers(1, 2**31))
def test_below_gives_integers_below_the_bound(bound: int) -> None:
    bits = np.array([0, 1, 2**63, 2**64 - 1], dtype=np.uint64)
    values = below(bits, bound)
    assert (values >= 0).all()
    assert (values < bound).all()
