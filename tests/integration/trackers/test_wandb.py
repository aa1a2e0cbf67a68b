"""W&B with a server, without a server, and with offline runs that are synced later."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

import ptm.train.trackers
import ptm.train.trackers.background
import ptm.train.trackers.wandb
from ptm.errors import EXIT_DONE, EXIT_STOPPED
from ptm.recipe import Recipe, load_recipe
from ptm.train.metrics import MetricsFile
from ptm.train.trackers import Trackers
from tests.integration.trackers.reading import (
    BOTH,
    RECORD,
    WANDB,
    WITH_WANDB,
    WITHOUT_SAMPLES,
    expected_history,
    history,
    inspected,
    offline_run,
    quick,
    run_id,
    split,
    without_clock,
)
from tests.integration.trackers.wandb_server import Server, serving
from tests.support.faults import Killed
from tests.support.small_runs import Runs


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A W&B server at which the user is logged in."""
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        yield server


def test_after_a_kill_the_server_has_each_step_once_and_in_order(
    runs: Runs,
    server: Server,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = runs.folder / "online"
    sent_only = (WITH_WANDB, WITHOUT_SAMPLES)
    with pytest.raises(Killed):
        runs.train("online", *sent_only, "tracking.log_every=3", die_at=11)
    (run,) = server.lines
    assert run == run_id(folder)
    sent = without_clock(server.history(run))
    assert sent == expected_history(folder)
    assert [row["step"] for row in sent] == [3, 6, 9]

    # The checkpoint is at step 8. W&B keeps the row of step 9.
    assert runs.train("online", *sent_only, "tracking.log_every=1") == EXIT_DONE
    rows = without_clock(server.history(run))
    assert rows == sent + [row for row in expected_history(folder) if row["step"] > 9]
    assert [row["step"] for row in rows] == [3, 6, 9, 10, 11, 12]
    assert list(server.lines) == [run]
    recipe = load_recipe(*split(runs.arguments("online", *sent_only, "tracking.log_every=1")))
    config = {k: v["value"] for k, v in server.configs[run].items() if k != "_wandb"}
    expected = recipe.model_dump(mode="json")
    assert expected["tokenizer"].pop("special_tokens") == {}  # W&B sends no empty mapping
    assert config == expected
    gathered = {Path(path).name for path in server.uploads}
    assert gathered <= {"config.yaml", "wandb-summary.json"}
    printed = capfd.readouterr()
    assert "wandb" not in (printed.out + printed.err).lower()


def test_an_offline_run_can_be_synced_again_after_a_resume(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    folder = runs.folder / "sent"
    monkeypatch.setenv("WANDB_MODE", "offline")

    def send() -> list[dict[str, Any]]:
        environment = {k: v for k, v in os.environ.items() if k != "WANDB_MODE"}
        subprocess.run(
            [WANDB, "sync", str(offline_run(folder))],
            env=environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=True,
        )
        return without_clock(server.history(run_id(folder)))

    assert runs.train("sent", WITH_WANDB, WITHOUT_SAMPLES, stop_at=7) == EXIT_STOPPED
    assert send() == expected_history(folder)
    assert runs.train("sent", WITH_WANDB, WITHOUT_SAMPLES) == EXIT_DONE
    assert send() == expected_history(folder)

    # The user has logged in meanwhile: the resumed run sends the remaining rows.
    monkeypatch.delenv("WANDB_MODE")
    wandb.teardown()
    assert runs.train("sent", WITH_WANDB, WITHOUT_SAMPLES, "train.steps=16") == EXIT_DONE
    assert without_clock(server.history(run_id(folder))) == expected_history(folder)
    assert not list((folder / "wandb").glob("offline-run-*"))


def test_wandb_reads_an_offline_run_and_would_sync_it(runs: Runs) -> None:
    assert runs.train("left", *BOTH) == EXIT_DONE
    run = offline_run(runs.folder / "left")

    def output_of_wandb(*arguments: str) -> str:
        done = subprocess.run(
            [WANDB, *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=True,
        )
        return done.stdout + done.stderr

    summary = json.loads(output_of_wandb("leet", "inspect", "--summary", "--json", str(run)))
    assert summary["summary"]["step"] == 12
    assert "Would sync 1 run(s)" in output_of_wandb("sync", "--dry-run", str(run))


def test_a_key_without_a_reachable_server_means_offline(
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setitem(ptm.train.trackers.wandb.SETTINGS, "init_timeout", 0.5)
    trackers = Trackers(quick(recipe), tmp_path)
    trackers.log(RECORD)
    trackers.close()
    assert "W&B cannot be reached; the run is recorded offline" in caplog.text
    assert [row["step"] for row in history(inspected(tmp_path))] == [10]


def test_a_malformed_key_means_offline(
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "short")
    Trackers(quick(recipe), tmp_path).close()
    assert "login failed; the run is recorded offline" in caplog.text
    assert offline_run(tmp_path)


def test_online_without_a_key_means_offline(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    Trackers(quick(recipe), tmp_path).close()
    assert offline_run(tmp_path)


def test_wandb_can_be_switched_off(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    trackers = Trackers(quick(recipe), tmp_path)
    trackers.log(RECORD)
    trackers.close()
    assert not (tmp_path / "wandb").exists()


class Served:
    """A stand-in for W&B's online run, with the methods that the tracker uses."""

    def __init__(self, folder: Path, starting_step: int) -> None:
        self.starting_step = starting_step
        self.dir = str(folder / "wandb" / "run-20990101_000000-abcd" / "files")
        self.url = "https://wandb.example/abcd"
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    def define_metric(self, *arguments: object, **options: object) -> None:
        pass

    def log(self, row: dict[str, float], step: int | None, commit: bool) -> None:
        self.rows.append((step, row))

    def finish(self, exit_code: int) -> None:
        pass


@pytest.mark.parametrize("next_step", [0, 6, 12])
def test_only_rows_that_the_server_lacks_are_sent(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, next_step: int
) -> None:
    """`next_step` is the step after the last row on the server; the checkpoint is at step 8."""
    (tmp_path / "wandb_run.json").write_text('{"id": "abcd"}')
    stale = tmp_path / "wandb" / "offline-run-20200101_000000-abcd"
    stale.mkdir(parents=True)
    file = MetricsFile(tmp_path / "metrics.jsonl")
    for step in (5, 6, 8):
        file.write({**RECORD, "step": step})
    file.close()
    run = Served(tmp_path, next_step)
    requested: dict[str, Any] = {}
    monkeypatch.setattr(wandb, "login", lambda **options: True)
    monkeypatch.setattr(wandb, "init", lambda **options: requested.update(options) or run)
    trackers = Trackers(quick(recipe), tmp_path)
    for step in (10, 15):
        trackers.log({**RECORD, "step": step})
    trackers.close()
    assert (requested["id"], requested["resume"], requested["mode"]) == ("abcd", "allow", "online")
    sent = {0: [5, 6, 8, 10, 15], 6: [6, 8, 10, 15], 12: [15]}[next_step]
    assert [step for step, _ in run.rows] == sent
    assert [row["step"] for _, row in run.rows] == sent
    # If it were synced later by mistake, it would replace the rows on the server.
    assert not stale.exists()


def test_a_damaged_id_file_starts_another_run(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "wandb_run.json").write_text('{"id')
    Trackers(quick(recipe), tmp_path).close()
    assert "a new run is started" in caplog.text
    assert run_id(tmp_path) in offline_run(tmp_path).name
