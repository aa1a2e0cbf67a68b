"""Session-scoped launches, shared by all tests of this folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import BuildStore, Bundled
from tests.integration.engines.tiny_recipes import Files, bundled_files
from tests.integration.engines.trainings import (
    FOUR_RANKS,
    GROWN,
    IN_USE,
    ONE_RANK,
    TWO_RANKS,
    TWO_RANKS_REST,
    TWO_STAGES,
    copy_saved,
)
from tests.support.launched import Launch, launched

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests of stages and of four ranks last, so that launches run one after another."""

    def place(item: pytest.Item) -> int:
        about = (item.name, *getattr(item, "fixturenames", ()))
        if any("four_ranks" in word for word in about):
            return 2
        return 1 if "stages" in item.name else 0

    places = [at for at, item in enumerate(items) if FOLDER in item.path.parents]
    ordered = sorted((items[at] for at in places), key=place)
    for at, item in zip(places, ordered, strict=True):
        items[at] = item


@pytest.fixture(scope="session")
def store(
    bundled: Bundled, build_store: BuildStore, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The bundled corpus, every second document shortened: rows with 1 and with 9 masks."""
    chinese, english = (
        file.read_text(encoding="utf-8").splitlines() for file in (bundled.chinese, bundled.english)
    )
    documents: list[str] = []
    for index, pair in enumerate(zip(chinese, english, strict=True)):
        documents += pair if index % 2 else (pair[0][:6], " ".join(pair[1].split()[:2]))
    folder = tmp_path_factory.mktemp("engines")
    return build_store(folder, "\n".join(documents) + "\n", vocab=bundled.vocab).folder


@pytest.fixture(scope="session")
def files(bundled: Bundled, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The bundled text as corpora of all layouts."""
    return bundled_files(bundled, tmp_path_factory.mktemp("families"))


@pytest.fixture(scope="session")
def one_rank(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    folder = tmp_path_factory.mktemp("one-rank")
    with launched(ONE_RANK, ranks=1, store=store, folder=folder) as launch:
        yield launch


@pytest.fixture(scope="session")
def two_ranks(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    folder = tmp_path_factory.mktemp("two-ranks")
    taken = folder / "runs" / IN_USE
    taken.mkdir(parents=True)
    with (
        (taken / "lock").open("w") as lock,
        launched(
            *(TWO_RANKS, TWO_STAGES, TWO_RANKS_REST), ranks=2, store=store, folder=folder
        ) as launch,
    ):
        lock.write("process 1 on somewhere")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield launch


@pytest.fixture(scope="session")
def four_ranks(
    store: Path, two_ranks: Launch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launch]:
    folder = tmp_path_factory.mktemp("four-ranks")
    with launched(FOUR_RANKS, ranks=4, store=store, folder=folder) as launch:
        for before, after in GROWN:
            copy_saved(two_ranks, before, after, runs=launch.runs)
        yield launch
