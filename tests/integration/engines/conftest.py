"""Launches for a session, whose trainings all tests of this folder look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import BuildStore, Bundled
from tests.integration.engines.trainings import DISTURBED, FOUR_RANKS, ONE_RANK, STOPPED, TWO_RANKS
from tests.support.launched import Launch, launched


@pytest.fixture(scope="session")
def store(
    bundled: Bundled, build_store: BuildStore, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The bundled corpus, every second document cut short: rows with 1 and with 9 masks."""
    chinese, english = (
        file.read_text(encoding="utf-8").splitlines() for file in (bundled.chinese, bundled.english)
    )
    documents = []
    for index, pair in enumerate(zip(chinese, english, strict=True)):
        documents += pair if index % 2 else (pair[0][:6], " ".join(pair[1].split()[:2]))
    folder = tmp_path_factory.mktemp("engines")
    return build_store(folder, "\n".join(documents) + "\n", vocab=bundled.vocab).folder


@pytest.fixture(scope="session")
def one_rank(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    folder = tmp_path_factory.mktemp("one-rank")
    with launched(ONE_RANK, ranks=1, store=store, folder=folder) as launch:
        yield launch


@pytest.fixture(scope="session")
def two_ranks(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    folder = tmp_path_factory.mktemp("two-ranks")
    with launched(TWO_RANKS, ranks=2, store=store, folder=folder) as launch:
        yield launch


@pytest.fixture(scope="session")
def four_ranks(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    folder = tmp_path_factory.mktemp("four-ranks")
    with launched(FOUR_RANKS, ranks=4, store=store, folder=folder) as launch:
        yield launch


@pytest.fixture(scope="session")
def stopped(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Calm trainings of two ranks, and such that were stopped and went on."""
    folder = tmp_path_factory.mktemp("stopped")
    with launched(STOPPED, ranks=2, store=store, folder=folder) as launch:
        yield launch


@pytest.fixture(scope="session")
def disturbed(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Trainings of two ranks, one step of which is not like the others."""
    folder = tmp_path_factory.mktemp("disturbed")
    with launched(DISTURBED, ranks=2, store=store, folder=folder) as launch:
        yield launch
