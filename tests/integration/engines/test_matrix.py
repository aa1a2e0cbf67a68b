"""What any engine on two ranks has saved, any other on one or four goes on from.

The whole matrix takes minutes (`-m slow`); a diagonal of it is part of every test run.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ptm.errors import EXIT_DONE, EXIT_STOPPED
from tests.integration.engines.comparing import differences
from tests.integration.engines.trainings import STEPS, TOGETHER, exact, stages, zero
from tests.support.launched import Launch, Training, launched, reports

SAVED_AT = 10
SAVERS = {f"zero{stage}": (zero(stage),) for stage in range(4)} | {"stages2": stages(2)}
LOADERS = {
    1: {f"zero{stage}": (zero(stage),) for stage in (0, 1, 2, "2-offload", 3, "3-offload")},
    4: {f"zero{stage}": (zero(stage),) for stage in range(4)}
    | {"stages2": stages(2), "stages4": stages(4)},
}
PAIRS = [
    (ranks, before, after)
    for ranks, those in LOADERS.items()
    for before in SAVERS
    for after in those
]
# Every saver and every loader once.
FEW = [
    *((4, before, after) for before, after in zip(SAVERS, LOADERS[4], strict=False)),
    *((1, before, after) for before, after in zip(reversed(SAVERS), LOADERS[1], strict=False)),
]


def goes_on(folder: Path, before: str, after: str, ranks: int) -> Training:
    """The training of `before`, with the engine of `after`, in a folder of its own."""
    to = folder / f"{before}-{after}"
    moved = (f"name={before}", f"runs_dir={to}", TOGETHER)
    return exact(f"{before}-{after}", *LOADERS[ranks][after], *moved)


@pytest.fixture(scope="session")
def saved(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Trainings of two ranks, stopped in the middle, and a whole one."""
    folder = tmp_path_factory.mktemp("savers")
    trainings = [
        Training(name, exact(name, *overrides, TOGETHER).overrides, stop_at=SAVED_AT)
        for name, overrides in SAVERS.items()
    ]
    whole = exact("whole", zero(0), TOGETHER)
    with launched([whole, *trainings], ranks=2, store=store, folder=folder) as launch:
        yield launch


def continued(
    saved: Launch, store: Path, folder: Path, *, ranks: int, pairs: list[tuple[int, str, str]]
) -> None:
    """Go on with `pairs` on `ranks`, and compare all with the whole training."""
    # As DeepSpeed bears it within one process.
    order = list(LOADERS[ranks])
    mine = sorted((p for p in pairs if p[0] == ranks), key=lambda pair: order.index(pair[2]))
    for _, before, after in mine:
        assert saved.codes(before) == [[EXIT_STOPPED] * 2]
        source, target = saved.runs / before, folder / f"{before}-{after}" / before
        shutil.copytree(source, target)
    trainings = [goes_on(folder, before, after, ranks) for _, before, after in mine]
    with launched(trainings, ranks=ranks, store=store, folder=folder) as launch:
        for _, before, after in mine:
            assert launch.codes(f"{before}-{after}") == [[EXIT_DONE] * ranks]
            found = reports(folder / f"{before}-{after}" / before)
            apart = differences(found, saved.metrics("whole"))
            assert max(apart.values()) <= 1e-5, (before, after, apart)


@pytest.mark.parametrize("ranks", LOADERS)
def test_another_engine_goes_on_with_the_same_numbers(
    saved: Launch, store: Path, tmp_path: Path, ranks: int
) -> None:
    assert {before for _, before, _ in FEW} == set(SAVERS)
    continued(saved, store, tmp_path, ranks=ranks, pairs=FEW)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("ranks", LOADERS)
def test_every_engine_goes_on_from_every_other(
    saved: Launch, store: Path, tmp_path: Path, ranks: int
) -> None:
    assert STEPS > SAVED_AT
    continued(saved, store, tmp_path, ranks=ranks, pairs=PAIRS)
