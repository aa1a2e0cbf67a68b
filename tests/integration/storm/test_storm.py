"""A short storm: faults strike a training as in `benchmarks/storm.py`, but for seconds.

The tests of this file run in order on one training: in each a fault strikes it, the next test
resumes it, and in the last test its reports equal those of an undisturbed (calm) training.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.storm import FAULTS, Storm, reports, small_disk, small_training
from ptm.errors import EXIT_DONE
from tests.support.launched import fork_ranks

STEPS = 20
RANKS = 2
ENGINE = "engine.deepspeed=zero1"
STRUCK_AT = {"kill -9 of a rank": 7, "full disk": 12}
"""The step after which each fault strikes; checkpoints are saved every 5 steps."""


@dataclass(frozen=True)
class Trainings:
    """A training that is struck by faults, and the arguments of an undisturbed one."""

    struck: Storm
    calm: list[str]
    has_small_disk: bool


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainings]:
    folder = tmp_path_factory.mktemp("storm")
    arguments = small_training(folder, steps=STEPS, dropout=True)
    (folder / "runs").mkdir()
    has_small_disk = small_disk(folder / "runs")
    struck = Storm(folder, [*arguments, "name=storm"], "storm")
    yield Trainings(struck, [*arguments, "name=calm", ENGINE], has_small_disk)
    if struck.process is not None:
        struck.kill_everything()


@pytest.mark.parametrize("fault", STRUCK_AT)
def test_a_fault_ends_the_launch_and_every_rank(trainings: Trainings, fault: str) -> None:
    if fault == "full disk" and not trainings.has_small_disk:
        fault = "checkpoints cannot be written"
    struck = trainings.struck
    struck.start(RANKS, ENGINE)
    assert struck.await_step(STRUCK_AT.get(fault, 12)), output(struck)

    FAULTS[fault](struck, random.Random(fault))

    assert struck.await_end() != EXIT_DONE, output(struck)


def test_an_undisturbed_training_ends(trainings: Trainings, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    calm = {
        "arguments": [trainings.calm] * RANKS,
        "stop_at": None,
        "disturbed": None,
        "varlen": False,
    }
    plan.write_text(json.dumps([calm]), encoding="utf-8")
    for rank in fork_ranks(plan, ranks=RANKS):
        rank.join(100)
        assert rank.exitcode == 0, plan.with_name("output").read_text()


def test_the_struck_training_has_the_reports_of_the_undisturbed_one(trainings: Trainings) -> None:
    struck = trainings.struck
    struck.start(RANKS, ENGINE)
    assert struck.await_end() == EXIT_DONE, output(struck)
    expected = reports(struck.run.with_name("calm"))
    assert [one["step"] for one in expected if one["split"] == "train"] == [*range(1, STEPS + 1)]
    assert reports(struck.run) == expected


def output(storm: Storm) -> str:
    return Path(storm.folder / "output").read_text(encoding="utf-8", errors="replace")[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("options", [(), ("--changing",)], ids=["one layout", "changing layouts"])
def test_after_all_faults_the_reports_are_those_of_an_undisturbed_training(
    project: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """All kinds of faults in a random order, with one layout or with another one at each start."""
    script = project / "benchmarks" / "storm.py"
    count = str(len(FAULTS))
    command = [sys.executable, str(script), str(tmp_path / "storm"), "--steps", "80", *options]
    done = subprocess.run(
        [*command, "--faults", count], capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{count} faults" in done.stdout
