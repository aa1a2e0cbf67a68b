"""An offline folder of SwanLab holds the recipe, the reports, the best values and the state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ptm.errors import EXIT_DONE, EXIT_STOPPED
from ptm.train.trackers import tracker_values
from tests.integration.trackers.reading import reports
from tests.support.faults import Killed
from tests.support.small_runs import Runs

pytest.importorskip("swanlab")

WITH_SWANLAB = "tracking.swanlab={project: tiny, tags: [a, b], notes: a trial}"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWANLAB_MODE", "offline")


def only_folder(folder: Path) -> Path:
    (only,) = (folder / "swanlog").glob("run-*")
    return only


def records(folder: Path) -> list[Any]:
    """The records of the one offline run, read by SwanLab."""
    from swanlab.sdk.internal.core_python.store import DataStoreReader
    from swanlab.sdk.internal.core_python.sync import Record

    (file,) = only_folder(folder).glob("*.swanlab")
    reader = DataStoreReader()
    reader.open(file)
    found = []
    for content in reader:
        record = Record()
        record.ParseFromString(content)
        found.append(record)
    reader.close()
    return found


def points(folder: Path, name: str) -> list[tuple[int, float]]:
    scalars = [one.scalar for one in records(folder) if one.HasField("scalar")]
    return [(one.step, one.value.number) for one in scalars if one.key == name]


def expected_points(folder: Path, name: str) -> list[tuple[int, float]]:
    values = [(record["step"], tracker_values(record)) for record in reports(folder)]
    return [(step, one[name]) for step, one in values if name in one]


def test_a_resumed_run_is_one_folder_with_config_metrics_best_values_and_state(
    runs: Runs,
) -> None:
    folder = runs.folder / "tracked"
    assert runs.train("tracked", WITH_SWANLAB, stop_at=7) == EXIT_STOPPED
    before = only_folder(folder)
    (end,) = [one.finish for one in records(folder) if one.HasField("finish")]
    aborted = end.state
    assert points(folder, "train/loss") == expected_points(folder, "train/loss")

    assert runs.train("tracked", WITH_SWANLAB) == EXIT_DONE
    after = only_folder(folder)
    assert before.name[-8:] == after.name[-8:]
    (end,) = [one.finish for one in records(folder) if one.HasField("finish")]
    assert end.state != aborted
    for name in ("train/loss", "eval/mlm_accuracy", "perf/tokens_per_second"):
        assert points(folder, name) == expected_points(folder, name)
    losses = [value for _, value in expected_points(folder, "train/loss")]
    assert points(folder, "train/loss.min")[-1][1] == min(losses)
    config = yaml.safe_load((after / "files" / "config.yaml").read_text(encoding="utf-8"))
    assert config["train"]["value"]["steps"] == 12
    (start,) = [one.start for one in records(folder) if one.HasField("start")]
    assert (start.project, start.name, list(start.tags)) == ("tiny", "tracked", ["a", "b"])
    # Nothing is collected beside the recipe and the reports.
    assert not (after / "files" / "requirements.txt").exists()


def test_points_after_the_checkpoint_are_gone_after_a_resume(runs: Runs) -> None:
    folder = runs.folder / "killed"
    with pytest.raises(Killed):
        runs.train("killed", WITH_SWANLAB, "tracking.log_every=3", die_at=11)
    assert [step for step, _ in points(folder, "train/loss")] == [3, 6, 9]
    assert runs.train("killed", WITH_SWANLAB, "tracking.log_every=2") == EXIT_DONE
    assert points(folder, "train/loss") == expected_points(folder, "train/loss")
    assert [step for step, _ in points(folder, "train/loss")] == [3, 6, 10, 12]
