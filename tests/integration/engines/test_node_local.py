"""`checkpoint.node_local`: hosts without a shared disk, simulated by two working directories."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ptm.errors import EXIT_DONE, EXIT_STOPPED, EXIT_USER
from ptm.files.kinds import MARKER
from tests.integration.engines.trainings import DROPPING, RESUMED
from tests.support.launched import (
    Ended,
    Launch,
    Training,
    fork_ranks,
    listed,
    outcomes,
    reports,
)

STOP = 4
OVERRIDES = (*DROPPING, *RESUMED["zero1"], "checkpoint.node_local=true", "checkpoint.every=100")
ALL_FILES = {"manifest.json", "run.json", "rank00000.bin", "rank00001.bin"}


@dataclass(frozen=True)
class Hosts:
    """Two working directories, in each of which one rank runs as the first of its host."""

    folder: Path
    store: Path

    def host(self, index: int) -> Path:
        return self.folder / f"host{index}"

    def checkpoint(self, index: int, name: str, step: int) -> Path:
        return self.host(index) / "runs" / name / "checkpoints" / f"global_step{step}"

    def files(self, index: int, name: str, step: int = STOP) -> set[str]:
        """The names of the files of a checkpoint, besides the marker of the folder."""
        return {path.name for path in self.checkpoint(index, name, step).iterdir()} - {MARKER}

    def train(self, label: str, trainings: Sequence[Training]) -> list[list[Ended]]:
        """Train on both hosts; return for each training how it ended on each of them."""
        folder = self.folder / label
        folder.mkdir()
        plan = folder / "plan.json"
        plan.write_text(listed(trainings, self.store, Path("runs"), ranks=2), encoding="utf-8")
        for index in range(2):
            self.host(index).mkdir(exist_ok=True)
        ranks = fork_ranks(
            plan,
            ranks=2,
            environments=[{"LOCAL_RANK": "0"}] * 2,
            folders=[self.host(0), self.host(1)],
        )
        for rank in ranks:
            rank.join(90)
            rank.kill()
        return [list(pair) for pair in zip(*(outcomes(folder, r) for r in range(2)), strict=True)]


NAMES = ("goes-on", "lost", "new-host")


@pytest.fixture(scope="module")
def hosts(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Hosts:
    return Hosts(tmp_path_factory.mktemp("hosts"), store)


@pytest.fixture(scope="module")
def stopped_hosts(hosts: Hosts) -> dict[str, list[set[str]]]:
    """Stop three trainings; return the files of their checkpoints on each host."""
    ended = hosts.train("first", [Training(name, OVERRIDES, stop_at=STOP) for name in NAMES])
    assert [[one.code for one in pair] for pair in ended] == [[EXIT_STOPPED] * 2] * 3, ended
    return {name: [hosts.files(index, name) for index in range(2)] for name in NAMES}


@pytest.fixture(scope="module")
def resumed(hosts: Hosts, stopped_hosts: dict[str, list[set[str]]]) -> dict[str, list[Ended]]:
    """Resume them: one unchanged, one after losing host 1, one with a new host 1."""
    shutil.rmtree(hosts.host(1) / "runs" / "lost")
    rest = hosts.checkpoint(1, "new-host", STOP) / "rank00001.bin"
    shutil.copy(rest, hosts.checkpoint(0, "new-host", STOP))
    shutil.rmtree(hosts.host(1) / "runs" / "new-host")
    ended = hosts.train("second", [Training(name, OVERRIDES) for name in NAMES])
    return dict(zip(NAMES, ended, strict=True))


def test_each_host_stores_only_the_file_of_its_own_rank(
    stopped_hosts: dict[str, list[set[str]]],
) -> None:
    for first, second in stopped_hosts.values():
        assert first == ALL_FILES - {"rank00001.bin"}
        assert second == ALL_FILES - {"rank00000.bin"}


@pytest.mark.parametrize("name", ["goes-on", "new-host"])
def test_hosts_exchange_missing_files_and_resume(
    hosts: Hosts, resumed: dict[str, list[Ended]], two_ranks: Launch, name: str
) -> None:
    assert [one.code for one in resumed[name]] == [EXIT_DONE] * 2, resumed[name]
    for index in range(2):
        assert hosts.files(index, name) == ALL_FILES
    one, other = (hosts.checkpoint(index, name, STOP) for index in range(2))
    for file in ALL_FILES:
        assert (one / file).read_bytes() == (other / file).read_bytes()
    assert hosts.files(0, name, 10) == ALL_FILES - {"rank00001.bin"}
    assert reports(hosts.host(0) / "runs" / name) == two_ranks.metrics("calm-zero1")


def test_a_checkpoint_that_lost_a_host_is_rejected(
    hosts: Hosts, resumed: dict[str, list[Ended]]
) -> None:
    first, second = resumed["lost"]
    assert [first.code, second.code] == [EXIT_USER] * 2
    assert first.message == second.message
    assert "the hosts together have no complete checkpoint (global_step4)" in first.message
    assert "--fresh" in first.message
    # The remaining files are kept.
    assert hosts.files(0, "lost") == ALL_FILES - {"rank00001.bin"}
