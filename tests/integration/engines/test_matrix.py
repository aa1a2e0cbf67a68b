"""A training resumes under any other engine and number of ranks, with the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ptm.errors import EXIT_DONE
from tests.integration.engines.comparing import differences
from tests.integration.engines.trainings import (
    GROWN,
    LOADERS,
    SAVED_AT,
    SAVERS,
    STEPS,
    copy_saved,
    resumed_in,
)
from tests.support.launched import Launch, launched, reports

Pair = tuple[str, str]
# Every saver once, each with another loader.
SHRUNK: list[Pair] = list(zip(reversed(SAVERS), LOADERS[1], strict=False))
PAIRS = {
    ranks: [(before, after) for before in SAVERS for after in loaders]
    for ranks, loaders in LOADERS.items()
}


def same_as_one_process(launch: Launch, one_rank: Launch, pair: Pair, *, ranks: int) -> None:
    """Assert that the resumed training has the numbers of one that was never stopped."""
    name, before = "-".join(pair), pair[0]
    assert launch.codes(name) == [[EXIT_DONE] * ranks]
    found = reports(launch.runs / name / f"saved-{before}")
    assert [one["step"] for one in found if one["split"] == "train"] == [*range(1, STEPS + 1)]
    apart = differences(found, one_rank.metrics("alone"))
    assert max(apart.values()) <= 1e-5, apart


@pytest.fixture(scope="module")
def shrunk(
    store: Path, two_ranks: Launch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launch]:
    """One process that resumes trainings of two ranks."""
    folder = tmp_path_factory.mktemp("shrunk")
    trainings = [resumed_in(*pair, ranks=1) for pair in SHRUNK]
    with launched(trainings, ranks=1, store=store, folder=folder) as launch:
        for before, after in SHRUNK:
            copy_saved(two_ranks, before, after, runs=launch.runs)
        yield launch


@pytest.mark.parametrize("pair", SHRUNK, ids="-".join)
def test_one_process_resumes_a_training_of_two_ranks(
    shrunk: Launch, one_rank: Launch, pair: Pair
) -> None:
    assert {before for before, _ in SHRUNK} == set(SAVERS)
    same_as_one_process(shrunk, one_rank, pair, ranks=1)


@pytest.mark.parametrize("pair", GROWN, ids="-".join)
def test_four_ranks_resume_a_training_of_two_ranks(
    four_ranks: Launch, one_rank: Launch, pair: Pair
) -> None:
    same_as_one_process(four_ranks, one_rank, pair, ranks=4)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("ranks", LOADERS)
def test_every_engine_resumes_from_every_other(
    two_ranks: Launch, one_rank: Launch, store: Path, tmp_path: Path, ranks: int
) -> None:
    assert 0 < SAVED_AT < STEPS
    # In an order that DeepSpeed can run within one process.
    order = list(LOADERS[ranks])
    pairs = sorted(PAIRS[ranks], key=lambda pair: order.index(pair[1]))
    trainings = [resumed_in(*pair, ranks=ranks) for pair in pairs]
    with launched(trainings, ranks=ranks, store=store, folder=tmp_path) as launch:
        for before, after in pairs:
            copy_saved(two_ranks, before, after, runs=launch.runs)
        for pair in pairs:
            same_as_one_process(launch, one_rank, pair, ranks=ranks)
