"""Histograms of lengths, and the rows that documents fill, against counts of every document."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ptm.arrays import I64
from ptm.data.packing import pack
from ptm.runs.corpus.lengths import QUANTILES, LengthHistogram


@pytest.fixture(params=[1, 2, 3], ids=lambda seed: f"seed{seed}")
def lengths(request: pytest.FixtureRequest) -> I64:
    """Lengths of 1 to 700 tokens, and a very long one."""
    random = np.random.default_rng(request.param)
    return np.append(1 + random.geometric(0.02, 500).clip(max=699), 5000 + request.param)


def histogram(lengths: I64) -> LengthHistogram:
    return LengthHistogram.of(np.array_split(lengths, 4))


def test_documents_tokens_and_quantiles_are_those_of_the_lengths(lengths: I64) -> None:
    found = histogram(lengths)
    assert (found.documents, found.tokens) == (lengths.size, lengths.sum())
    assert (found.shortest, found.longest) == (lengths.min(), lengths.max())
    expected = np.quantile(lengths, QUANTILES, method="inverted_cdf")
    assert [found.quantile(share) for share in QUANTILES] == expected.tolist()


def test_a_quantile_is_the_smallest_length_that_enough_documents_do_not_exceed() -> None:
    found = histogram(np.array([1, 2, 3, 4]))
    assert [found.quantile(share) for share in (0.25, 0.5, 0.51, 0.99)] == [1, 2, 3, 4]


def test_every_document_is_in_the_bucket_of_its_length(lengths: I64) -> None:
    buckets = list(histogram(lengths).buckets())
    for bucket in buckets:
        inside = lengths[(lengths >= bucket.first) & (lengths <= bucket.last)]
        assert (bucket.documents, bucket.tokens) == (inside.size, inside.sum())
    assert sum(bucket.documents for bucket in buckets) == lengths.size
    assert all(b.first == a.last + 1 for a, b in itertools.pairwise(buckets))


def chunks(lengths: I64, row: int) -> I64:
    """Every document in chunks of `row` tokens, the last of which may be shorter."""
    return np.array(
        [min(row, n - begin) for n in lengths.tolist() for begin in range(0, n, row)],
        dtype=np.int64,
    )


@pytest.mark.parametrize("row", [8, 64, 512])
@pytest.mark.parametrize("continues", [True, False])
def test_rows_are_filled_as_the_packing_of_a_training_fills_them(
    lengths: I64, row: int, continues: bool
) -> None:
    examples = chunks(lengths, row) if continues else np.minimum(lengths, row)
    found = histogram(lengths).row_fill(row, continues=continues)
    assert found.examples == examples.size
    assert found.packed_rows == len(pack(examples, row))
    assert found.fill == pytest.approx(examples.sum() / (examples.size * row), abs=0)
    assert found.packed_fill == examples.sum() / (len(pack(examples, row)) * row)
    assert found.tokens_cut_off == sum(max(0, n - row) for n in lengths.tolist())
    assert found.longer_documents == (lengths > row).sum()


def test_the_length_of_the_recipe_is_among_the_row_lengths() -> None:
    short = histogram(np.array([3, 5]))
    common = [fill.row_length for fill in short.row_fills(continues=True, own=None)]
    assert common == [64, 128, 256, 512, 1024]
    own = [fill.row_length for fill in short.row_fills(continues=True, own=200)]
    assert own == [64, 128, 200, 256, 512, 1024]


def test_longer_rows_are_shown_up_to_one_that_holds_every_document() -> None:
    def longest(length: int) -> int:
        found = histogram(np.array([3, length])).row_fills(continues=True, own=None)
        return found[-1].row_length

    assert [longest(1024), longest(1025), longest(2049), longest(10**6)] == [1024, 2048, 4096, 4096]
