"""A mixture on two ranks at ZeRO 1, resumed, and in two stages: the rows of one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ptm.errors import EXIT_STOPPED
from tests.integration.engines.comparing import differences
from tests.integration.engines.trainings import EXACT, stages, zero
from tests.support.launched import Launch, Training, launched
from tests.support.mixtures import SPLIT, mixed, write_mixture

WITHIN = 1e-5
PAIRS = ("objective={type: bert}", *SPLIT)
KINDS = {"masked": (), "pairs": PAIRS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("mixture")
    write_mixture(made)
    return made


def trainings(folder: Path, *engine: str, stop_at: int | None = None) -> list[Training]:
    """Each kind of training; with `stop_at`, stopped after that step and then resumed."""
    found = []
    for kind, objective in KINDS.items():
        overrides = (*EXACT, *mixed(folder), *objective, *engine)
        if stop_at is not None:
            found.append(Training(kind, overrides, stop_at=stop_at))
        found.append(Training(kind, overrides))
    return found


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    own = tmp_path_factory.mktemp("alone")
    with launched(trainings(folder, zero(0)), ranks=1, store=folder, folder=own) as found:
        yield found


@pytest.fixture(scope="module")
def data_parallel(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    own = tmp_path_factory.mktemp("zero1")
    stopped = trainings(folder, zero(1), stop_at=3)
    with launched(stopped, ranks=2, store=folder, folder=own) as found:
        yield found


@pytest.fixture(scope="module")
def stages2(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    own = tmp_path_factory.mktemp("stages2")
    with launched(trainings(folder, *stages(2)), ranks=2, store=folder, folder=own) as found:
        yield found


def assert_same_as_alone(found: Launch, alone: Launch, kind: str) -> None:
    worst = differences(found.metrics(kind), alone.metrics(kind))
    assert {"share/english", "share/chinese", "tokens", "loss"} <= worst.keys()
    assert {key: apart for key, apart in worst.items() if apart > WITHIN} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_at_zero_1_stopped_and_resumed_have_the_rows_of_one_process(
    data_parallel: Launch, alone: Launch, kind: str
) -> None:
    assert data_parallel.codes(kind)[0] == [EXIT_STOPPED, EXIT_STOPPED]
    assert_same_as_alone(data_parallel, alone, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_two_stages_have_the_rows_of_one_process(stages2: Launch, alone: Launch, kind: str) -> None:
    assert_same_as_alone(stages2, alone, kind)
