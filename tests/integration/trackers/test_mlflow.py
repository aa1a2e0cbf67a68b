"""MLflow's database holds the recipe, the reports, the best values and the state of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ptm.errors import EXIT_DONE, EXIT_STOPPED
from ptm.recipe import load_recipe
from ptm.train.trackers import tracker_values
from ptm.train.trackers.flat_recipe import flat_recipe
from tests.integration.trackers.reading import reports, split
from tests.support.faults import Killed
from tests.support.small_runs import Runs

pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")

WITH_MLFLOW = "tracking.mlflow={experiment: tiny}"
CONTINUED = "train.steps=14"


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def only_run(runs: Runs) -> tuple[Any, Any]:
    """MLflow's client and the one run of the experiment."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{runs.folder.absolute()}/mlflow.db")
    experiment = client.get_experiment_by_name("tiny")
    (run,) = client.search_runs([experiment.experiment_id])
    return client, run


def points(client: Any, run: Any, name: str) -> list[tuple[int, float]]:
    return [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]


def expected_points(folder: Path, name: str) -> list[tuple[int, float]]:
    values = [(record["step"], tracker_values(record)) for record in reports(folder)]
    return [(step, one[name]) for step, one in values if name in one]


def test_a_resumed_run_is_one_run_with_parameters_metrics_best_values_and_state(
    runs: Runs,
) -> None:
    folder = runs.folder / "tracked"
    assert runs.train("tracked", WITH_MLFLOW, stop_at=7) == EXIT_STOPPED
    client, run = only_run(runs)
    assert (run.info.status, run.info.run_name) == ("KILLED", "tracked")
    first = flat_recipe(load_recipe(*split(runs.arguments("tracked", WITH_MLFLOW))))
    assert run.data.params == first
    assert points(client, run, "train/loss") == expected_points(folder, "train/loss")

    assert runs.train("tracked", WITH_MLFLOW, CONTINUED) == EXIT_DONE
    client, run = only_run(runs)
    assert run.info.status == "FINISHED"
    names = {name for record in reports(folder) for name in tracker_values(record)}
    assert {name for name in run.data.metrics if not name.endswith((".min", ".max"))} == names
    for name in ("train/loss", "eval/mlm_accuracy", "perf/tokens_per_second"):
        assert points(client, run, name) == expected_points(folder, name)
    losses = [value for _, value in expected_points(folder, "train/loss")]
    assert run.data.metrics["train/loss.min"] == min(losses)
    accuracies = [value for _, value in expected_points(folder, "eval/mlm_accuracy")]
    assert run.data.metrics["eval/mlm_accuracy.max"] == max(accuracies)
    # MLflow does not let a parameter change.
    assert run.data.params == first
    assert run.data.tags["train.steps"] == "14"
    assert run.data.tags["ptm.alert"] == "tracked: done: step 14 of 14"


def test_a_step_is_not_sent_twice_after_a_kill(runs: Runs) -> None:
    with pytest.raises(Killed):
        runs.train("killed", WITH_MLFLOW, "tracking.log_every=3", die_at=11)
    client, run = only_run(runs)
    assert run.info.status == "FAILED"
    assert [step for step, _ in points(client, run, "train/loss")] == [3, 6, 9]
    # The checkpoint is at step 8, or at an earlier one. MLflow keeps the point of step 9.
    assert runs.train("killed", WITH_MLFLOW, "tracking.log_every=1") == EXIT_DONE
    client, run = only_run(runs)
    assert [step for step, _ in points(client, run, "train/loss")] == [3, 6, 9, 10, 11, 12]


def test_reports_from_before_mlflow_was_switched_on_are_sent(runs: Runs) -> None:
    assert runs.train("later", stop_at=7) == EXIT_STOPPED
    assert runs.train("later", WITH_MLFLOW) == EXIT_DONE
    client, run = only_run(runs)
    expected = expected_points(runs.folder / "later", "train/loss")
    assert points(client, run, "train/loss") == expected
    assert [step for step, _ in expected] == [5, 10, 12]
