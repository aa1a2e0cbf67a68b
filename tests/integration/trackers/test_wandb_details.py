"""What W&B gets besides the curves: group, tags, notes, best values, alerts, trials of sweeps."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from ptm.errors import EXIT_DONE, EXIT_STOPPED
from ptm.recipe import load_recipe
from ptm.train.trackers.sweeps import with_trial_name
from tests.integration.trackers.reading import expected_history, history, inspected
from tests.support.faults import Killed
from tests.support.small_runs import QUICKSTART, Runs

DETAILS = "tracking.wandb={project: test, group: tiny, tags: [a, b], notes: a trial}"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def of_type(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in records if record["type"] == kind]


def test_a_run_has_its_group_tags_best_values_and_alerts(runs: Runs) -> None:
    assert runs.train("detailed", DETAILS, stop_at=7) == EXIT_STOPPED
    records = inspected(runs.folder / "detailed")
    assert [alert["title"] for alert in of_type(records, "alert")] == [
        "detailed: stopped (SIGTERM)"
    ]
    assert runs.train("detailed", DETAILS, "tracking.log_every=3") == EXIT_DONE
    records = inspected(runs.folder / "detailed")
    run = of_type(records, "run")[0]
    assert (run["run_group"], run["job_type"], run["tags"], run["notes"]) == (
        *("tiny", "pretrain"),
        *(["a", "b"], "a trial"),
    )
    (alert,) = of_type(records, "alert")
    assert (alert["title"], alert["text"]) == ("detailed: done", "step 12 of 12")
    summary: dict[str, Any] = {}
    for one in of_type(records, "summary"):
        summary |= one["update"]
    losses = [r["loss"] for r in runs.metrics("detailed") if r["split"] == "train"]
    assert summary["train/loss"] == {"last": losses[-1], "min": min(losses)}
    assert set(summary["eval/mlm_accuracy"]) == {"last", "max"}
    assert isinstance(summary["train/learning_rate"], float)


def test_a_failed_run_is_shown_as_failed_and_keeps_the_values_of_the_machines(
    runs: Runs,
) -> None:
    folder = runs.folder / "failing"
    sampled = (DETAILS, "tracking.system_every=0.01", "tracking.log_every=2")
    with pytest.raises(Killed):
        runs.train("failing", *sampled, die_at=11)
    (end,) = of_type(inspected(folder), "exit")
    assert end["exit_code"] == 1

    assert runs.train("failing", *sampled) == EXIT_DONE
    records = inspected(folder)
    (end,) = of_type(records, "exit")
    assert end.get("exit_code", 0) == 0
    rows = history(records)
    assert rows == expected_history(folder)
    host = re.sub(r"[^A-Za-z0-9._-]", "_", socket.gethostname())
    with_system = [row["step"] for row in rows if f"system/{host}/cpu_percent" in row]
    # Points from before and from after the resume at step 8.
    assert min(with_system) < 8 < max(with_system)


def test_the_sweep_of_the_documentation_starts_trainings(project: Path) -> None:
    page = (project / "docs" / "monitoring.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(program: ptm\n.*?)```", page, flags=re.DOTALL)
    sweep = yaml.safe_load(block)
    assert sweep["command"][:2] == ["ptm", "train"]
    assert sweep["command"][-1] == "${args_no_hyphens}"
    # The agent gives the values of a trial as KEY=VALUE.
    values = [f"{key}={one['min']}" for key, one in sweep["parameters"].items()]
    recipe = load_recipe(str(project / sweep["command"][2]), values)
    assert recipe.optimizer.learning_rate == 1e-5


def test_alerts_can_be_switched_off(runs: Runs) -> None:
    quiet = "tracking.wandb={project: test, alerts: false}"
    assert runs.train("quiet", quiet, "train.steps=1") == EXIT_DONE
    assert of_type(inspected(runs.folder / "quiet"), "alert") == []


def test_an_anomaly_is_an_alert(runs: Runs) -> None:
    skipping = ("train.anomalies={policy: skip, sigmas: 1, window: 4, limit: 100}", DETAILS)
    assert runs.train("spiking", *skipping) == EXIT_DONE
    titles = [alert["title"] for alert in of_type(inspected(runs.folder / "spiking"), "alert")]
    assert any(title.startswith("spiking: anomaly at step ") for title in titles)
    assert titles[-1] == "spiking: done"


def test_each_trial_of_a_sweep_has_a_run_of_its_own(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(str(QUICKSTART / "roberta-tiny.yaml"))
    assert with_trial_name(recipe).name == "quickstart"
    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")
    monkeypatch.setenv("WANDB_RUN_ID", "trial7")
    named = with_trial_name(recipe)
    assert named.name == "quickstart-trial7"
    # The ranks that a launcher starts have the name already.
    assert with_trial_name(named).name == "quickstart-trial7"
    assert runs.train("trial", DETAILS, "train.steps=1") == EXIT_DONE
    (found,) = of_type(inspected(runs.folder / "trial"), "run")[:1]
    assert found["run_id"] == "trial7"
