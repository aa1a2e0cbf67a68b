"""What TensorBoard and W&B hold is what metrics.jsonl holds, and neither ever stops a training.

W&B's offline runs are read by `wandb leet inspect`: W&B 0.31 has no reader in Python.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    EventAccumulator as ServedEvents,
)
from tensorboard.util import tensor_util

import ptm.train.trackers
import ptm.train.trackers.background
import ptm.train.trackers.wandb
from ptm.errors import EXIT_DONE, EXIT_STOPPED
from ptm.recipe import Recipe, load_recipe
from ptm.train.metrics import MetricsFile
from ptm.train.trackers import Trackers, tracker_values
from ptm.train.trackers.background import Background
from ptm.train.trackers.contract import reports_so_far
from tests.train.conftest import QUICKSTART, Runs, small_overrides
from tests.train.test_resume import Killed, die_after, stop_after
from tests.train.wandb_server import Server, serving

WITH_WANDB = "tracking.wandb={project: test}"
BOTH = ("tracking.tensorboard=true", WITH_WANDB)
RECORD = {"step": 10, "split": "train", "loss": 2.5, "tokens_per_second": 100.0, "tokens": 7}
WANDB = str(Path(sys.executable).with_name("wandb"))


@pytest.fixture(autouse=True)
def _nowhere_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever runs the tests may be logged in: no key is found here, and no server."""
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    logging.getLogger("ptm").propagate = True
    yield
    wandb.teardown()  # W&B reads the environment once


# --- reading back


def reports(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl with its timings, which trackers are told as well."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard's reader has, which is what its server has."""
    place = str(folder / "tensorboard")
    events = EventAccumulator(place, size_guidance={"scalars": 0})
    served = ServedEvents(place, size_guidance={"tensors": 0})
    events.Reload()
    served.Reload()
    found = {
        tag: [(point.step, point.value) for point in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
    np.testing.assert_equal(
        {
            tag: [
                (point.step, float(tensor_util.make_ndarray(point.tensor_proto)))
                for point in served.Tensors(tag)
            ]
            for tag in served.Tags()["tensors"]
        },
        found,
    )
    return found


def expected_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    expected: dict[str, list[tuple[int, float]]] = {}
    for record in reports(folder):
        for name, value in tracker_values(record).items():
            expected.setdefault(name, []).append((record["step"], float(np.float32(value))))
    return expected


def offline_run(folder: Path) -> Path:
    """The folder of the one offline run."""
    (only,) = (folder / "wandb").glob("offline-run-*")
    return only


def inspected(folder: Path) -> list[dict[str, Any]]:
    """The records W&B reads in the offline run."""
    command = [WANDB, "leet", "inspect", "--json", str(offline_run(folder))]
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def history(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return without_clock(r["history"]["item"] for r in records if r["type"] == "history")


def without_clock(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    clock = {"_runtime", "_timestamp"}
    return [{key: value for key, value in row.items() if key not in clock} for row in rows]


def expected_history(folder: Path) -> list[dict[str, Any]]:
    """A row a step, in which its training and its evaluation are together."""
    rows: dict[int, dict[str, Any]] = {}
    for record in reports(folder):
        step = record["step"]
        values = {
            name: "NaN" if value != value else value
            for name, value in tracker_values(record).items()
        }
        rows.setdefault(step, {"step": step, "_step": step}).update(values)
    return list(rows.values())


def run_id(folder: Path) -> str:
    return str(json.loads((folder / "wandb_run.json").read_text())["id"])


def wait_for_the_next_second(folder: Path) -> None:
    """Event files are ordered by the second in their names; a start takes longer in real life."""
    if any(folder.glob("tensorboard/*")):
        time.sleep(1 - time.time() % 1)


# --- names


def test_names_say_the_split_or_that_it_is_about_speed() -> None:
    assert tracker_values(RECORD) == {
        "train/loss": 2.5,
        "perf/tokens_per_second": 100.0,
        "train/tokens": 7.0,
    }


def test_what_is_not_finite_is_told_and_read_back_as_nan(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.write({**RECORD, "loss": float("inf")})
    file.close()
    ((step, values),) = reports_so_far(tmp_path / "metrics.jsonl")
    assert step == 10
    assert np.isnan(values["train/loss"])
    assert values["train/tokens"] == 7.0


# --- what is told is what metrics.jsonl holds


@pytest.mark.parametrize("mode", [None, "offline"])
def test_both_hold_the_reports_before_and_after_a_stop(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, mode: str | None
) -> None:
    """Nobody is logged in: W&B is offline without asking."""
    if mode is not None:
        monkeypatch.setenv("WANDB_MODE", mode)
    folder = runs.folder / "tracked"
    with monkeypatch.context() as patch:
        stop_after(patch, 7)
        assert runs.train("tracked", *BOTH) == EXIT_STOPPED
    assert [record["step"] for record in reports(folder)] == [5, 6]
    assert scalars(folder) == expected_scalars(folder)
    records = inspected(folder)
    assert history(records) == expected_history(folder)
    before = offline_run(folder)
    first_id = run_id(folder)

    wait_for_the_next_second(folder)
    assert runs.train("tracked", *BOTH) == EXIT_DONE
    assert [record["step"] for record in reports(folder)] == [5, 6, 10, 12, 12]
    assert scalars(folder) == expected_scalars(folder)
    records = inspected(folder)
    rows = history(records)
    assert rows == expected_history(folder)
    assert [row["step"] for row in rows] == [5, 6, 10, 12]
    assert run_id(folder) == first_id
    assert first_id in offline_run(folder).name
    assert not before.exists() or before == offline_run(folder)

    (run,) = (record["run"] for record in records if record["type"] == "run")
    recipe = load_recipe(*_split(runs.arguments("tracked", *BOTH)))
    config = {k: v for k, v in run["config"]["update"].items() if k != "_wandb"}
    assert config == recipe.model_dump(mode="json")
    assert (run["run_id"], run["project"]) == (first_id, "test")
    metrics = [record["metric"] for record in records if record["type"] == "metric"]
    assert {m.get("step_metric") for m in metrics if m.get("glob_name") == "*"} == {"step"}
    gathered = {"stats", "output", "output_raw", "files", "artifact", "environment"}
    assert not gathered & {record["type"] for record in records}
    assert not list(offline_run(folder).glob("files/*"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server to which the user has logged in."""
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        yield server


def test_online_each_step_is_there_once_and_in_order_after_a_kill(
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
    server: Server,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = runs.folder / "online"
    with monkeypatch.context() as patch:
        die_after(patch, 11)
        with pytest.raises(Killed):
            runs.train("online", WITH_WANDB, "tracking.report_every=3")
    (run,) = server.lines
    assert run == run_id(folder)
    sent = without_clock(server.history(run))
    assert sent == expected_history(folder)
    assert [row["step"] for row in sent] == [3, 6, 9]

    # The checkpoint is at step 8. W&B keeps what it was told of step 9.
    assert runs.train("online", WITH_WANDB, "tracking.report_every=1") == EXIT_DONE
    rows = without_clock(server.history(run))
    assert rows == sent + [row for row in expected_history(folder) if row["step"] > 9]
    assert [row["step"] for row in rows] == [3, 6, 9, 10, 11, 12]
    assert list(server.lines) == [run]
    recipe = load_recipe(*_split(runs.arguments("online", WITH_WANDB, "tracking.report_every=1")))
    config = {k: v["value"] for k, v in server.configs[run].items() if k != "_wandb"}
    expected = recipe.model_dump(mode="json")
    assert expected["tokenizer"].pop("special_tokens") == {}  # W&B sends no empty mapping
    assert config == expected
    gathered = {Path(path).name for path in server.uploads}
    assert gathered <= {"config.yaml", "wandb-summary.json"}
    printed = capfd.readouterr()
    assert "wandb" not in (printed.out + printed.err).lower()


def test_what_was_kept_offline_can_be_sent_again_after_a_resume(
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

    with monkeypatch.context() as patch:
        stop_after(patch, 7)
        assert runs.train("sent", WITH_WANDB) == EXIT_STOPPED
    assert send() == expected_history(folder)
    assert runs.train("sent", WITH_WANDB) == EXIT_DONE
    assert send() == expected_history(folder)

    # Logged in meanwhile: the rest is sent as the run goes on.
    monkeypatch.delenv("WANDB_MODE")
    wandb.teardown()
    assert runs.train("sent", WITH_WANDB, "train.steps=16") == EXIT_DONE
    assert without_clock(server.history(run_id(folder))) == expected_history(folder)
    assert not list((folder / "wandb").glob("offline-run-*"))


def _split(arguments: list[str]) -> tuple[str, list[str]]:
    return arguments[0], arguments[1:]


def test_points_told_past_the_checkpoint_are_superseded(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = runs.folder / "killed"
    with monkeypatch.context() as patch:
        die_after(patch, 11)
        with pytest.raises(Killed):
            runs.train("killed", *BOTH, "tracking.report_every=3")
    assert [record["step"] for record in reports(folder)] == [3, 6, 6, 9]
    assert [step for step, _ in scalars(folder)["train/loss"]] == [3, 6, 9]
    assert [row["step"] for row in history(inspected(folder))] == [3, 6, 9]
    first_id = run_id(folder)

    # Reports at other steps: nothing takes the place of the one at 9, which has to go.
    wait_for_the_next_second(folder)
    assert runs.train("killed", *BOTH, "tracking.report_every=2") == EXIT_DONE
    assert [record["step"] for record in reports(folder)] == [3, 6, 6, 10, 12, 12]
    assert scalars(folder) == expected_scalars(folder)
    assert history(inspected(folder)) == expected_history(folder)
    assert run_id(folder) == first_id


KILLED = """
import os, signal, sys
import ptm.train.trainer as trainer
from ptm.recipe import load_recipe
from ptm.train.run import train

original = trainer.Trainer._train_one

def train_one(self, batches):
    if self._position.step == 11:
        self._trackers._trackers["wandb"]._ready.wait(60)
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, batches)

trainer.Trainer._train_one = train_one
train(lambda: load_recipe(sys.argv[1], sys.argv[2:]), fresh=False)
"""


@pytest.mark.slow
def test_after_a_real_kill_both_are_whole_again(runs: Runs) -> None:
    """W&B writes an offline run by blocks of 32 KiB: until the next start it may lack all."""
    folder = runs.folder / "killed"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *runs.arguments("killed", *BOTH)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [record["step"] for record in reports(folder)] == [5, 6, 10]
    assert scalars(folder) == expected_scalars(folder)
    first_id = run_id(folder)
    assert runs.train("killed", *BOTH, "tracking.report_every=3") == EXIT_DONE
    assert [record["step"] for record in reports(folder)] == [5, 6, 9, 12, 12]
    assert scalars(folder) == expected_scalars(folder)
    assert history(inspected(folder)) == expected_history(folder)
    assert run_id(folder) == first_id


def test_trackers_switched_on_later_are_told_what_was_before(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = runs.folder / "later"
    with monkeypatch.context() as patch:
        stop_after(patch, 7)
        assert runs.train("later") == EXIT_STOPPED
    assert runs.train("later", *BOTH) == EXIT_DONE
    assert scalars(folder) == expected_scalars(folder)
    assert history(inspected(folder)) == expected_history(folder)


def test_wandb_reads_and_would_send_what_is_left(runs: Runs) -> None:
    assert runs.train("left", *BOTH) == EXIT_DONE
    run = offline_run(runs.folder / "left")

    def wandb_says(*arguments: str) -> str:
        done = subprocess.run(
            [WANDB, *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=True,
        )
        return done.stdout + done.stderr

    summary = json.loads(wandb_says("leet", "inspect", "--summary", "--json", str(run)))
    assert summary["summary"]["step"] == 12
    assert "Would sync 1 run(s)" in wandb_says("sync", "--dry-run", str(run))


# --- without a training: the recipe's trackers in a folder


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    overrides = small_overrides(tmp_path / "store", tmp_path, "alone")
    return load_recipe(str(QUICKSTART / "roberta-tiny.yaml"), [*overrides, *BOTH])


def _quick(recipe: Recipe) -> Recipe:
    tracking = recipe.tracking.model_copy(update={"tensorboard": False})
    return recipe.model_copy(update={"tracking": tracking})


def test_reports_that_are_not_finite_are_shown_as_nan(recipe: Recipe, tmp_path: Path) -> None:
    trackers = Trackers(recipe, tmp_path)
    file = MetricsFile(tmp_path / "metrics.jsonl")
    for step, loss in ((5, float("nan")), (10, float("inf")), (15, 1.0)):
        file.write({**RECORD, "step": step, "loss": loss})
        trackers.log({**RECORD, "step": step, "loss": loss})
    trackers.close()
    file.close()
    shown = [value for _, value in scalars(tmp_path)["train/loss"]]
    assert np.array_equal(shown, [np.nan, np.inf, 1.0], equal_nan=True)
    assert [row["train/loss"] for row in history(inspected(tmp_path))] == ["NaN", "Infinity", 1]
    Trackers(recipe, tmp_path).close()
    assert history(inspected(tmp_path)) == expected_history(tmp_path)


def test_an_evaluation_that_no_row_waited_for_is_not_lost(recipe: Recipe, tmp_path: Path) -> None:
    trackers = Trackers(_quick(recipe), tmp_path)
    trackers.log({**RECORD, "step": 5})
    trackers.log({"step": 5, "split": "eval", "loss": 3.0})
    trackers.log({**RECORD, "step": 10})
    trackers.close()
    rows = history(inspected(tmp_path))
    assert [row["step"] for row in rows] == [5, 5, 10]
    assert rows[1]["eval/loss"] == 3


def test_a_key_without_a_reachable_server_means_offline(
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setitem(ptm.train.trackers.wandb._SETTINGS, "init_timeout", 0.5)
    trackers = Trackers(_quick(recipe), tmp_path)
    trackers.log(RECORD)
    trackers.close()
    assert "W&B cannot be reached, the run is kept offline" in caplog.text
    assert [row["step"] for row in history(inspected(tmp_path))] == [10]


def test_a_malformed_key_means_offline(
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "short")
    Trackers(_quick(recipe), tmp_path).close()
    assert "login cannot be used, the run is kept offline" in caplog.text
    assert offline_run(tmp_path)


def test_online_without_a_key_means_offline(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    Trackers(_quick(recipe), tmp_path).close()
    assert offline_run(tmp_path)


def test_wandb_can_be_switched_off(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    trackers = Trackers(_quick(recipe), tmp_path)
    trackers.log(RECORD)
    trackers.close()
    assert not (tmp_path / "wandb").exists()


class Served:
    """W&B's online run, as far as the tracker uses it."""

    def __init__(self, folder: Path, starting_step: int) -> None:
        self.starting_step = starting_step
        self.dir = str(folder / "wandb" / "run-20990101_000000-abcd" / "files")
        self.url = "https://wandb.example/abcd"
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    def define_metric(self, *arguments: object, **options: object) -> None:
        pass

    def log(self, row: dict[str, float], step: int | None, commit: bool) -> None:
        self.rows.append((step, row))

    def finish(self) -> None:
        pass


@pytest.mark.parametrize("there", [0, 6, 12])
def test_online_only_what_is_not_there_yet_is_sent(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: int
) -> None:
    """`there` is the step after the last row W&B has; the checkpoint is at step 8."""
    (tmp_path / "wandb_run.json").write_text('{"id": "abcd"}')
    stale = tmp_path / "wandb" / "offline-run-20200101_000000-abcd"
    stale.mkdir(parents=True)
    file = MetricsFile(tmp_path / "metrics.jsonl")
    for step in (5, 6, 8):
        file.write({**RECORD, "step": step})
    file.close()
    run = Served(tmp_path, there)
    asked: dict[str, Any] = {}
    monkeypatch.setattr(wandb, "login", lambda **options: True)
    monkeypatch.setattr(wandb, "init", lambda **options: asked.update(options) or run)
    trackers = Trackers(_quick(recipe), tmp_path)
    for step in (10, 15):
        trackers.log({**RECORD, "step": step})
    trackers.close()
    assert (asked["id"], asked["resume"], asked["mode"]) == ("abcd", "allow", "online")
    sent = {0: [5, 6, 8, 10, 15], 6: [6, 8, 10, 15], 12: [15]}[there]
    assert [step for step, _ in run.rows] == sent
    assert [row["step"] for _, row in run.rows] == sent
    # Sent later by mistake, it would replace what is online.
    assert not stale.exists()


# --- failures


class Failing:
    def __init__(self) -> None:
        self.calls = 0

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.calls += 1
        raise OSError("the tracker's disk is full")

    def close(self) -> None:
        raise OSError("still full")


def _raise(*arguments: object, **options: object) -> Any:
    raise OSError("no space left for it")


def test_a_training_goes_on_without_the_trackers_that_fail(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Failing()
    monkeypatch.setattr(ptm.train.trackers, "TensorBoard", lambda folder, told: failing)
    monkeypatch.setattr(wandb, "init", _raise)
    assert runs.train("tracked", *BOTH) == EXIT_DONE
    assert failing.calls == 1
    assert "tensorboard failed and is left out from here on: the tracker's disk" in caplog.text
    assert "wandb cannot be used and is left out: no space left for it" in caplog.text
    assert runs.metrics("tracked")[-1]["step"] == 12


def test_a_tracker_that_fails_to_close_is_named(
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ptm.train.trackers, "TensorBoard", lambda folder, told: Failing())
    monkeypatch.setattr(ptm.train.trackers, "Wandb", lambda *arguments: Failing())
    Trackers(recipe, tmp_path).close()
    assert "tensorboard could not be closed: still full" in caplog.text
    assert "wandb could not be closed: still full" in caplog.text


def test_a_tracker_that_fails_on_its_thread_is_called_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = Failing()
    background = Background("wandb", lambda: failing)
    for step in range(3):
        background.log({}, step)
    background.close()
    assert failing.calls == 1
    assert caplog.text.count("wandb failed and is left out from here on") == 1


def test_a_hanging_start_of_wandb_delays_nothing(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    awake = threading.Event()
    monkeypatch.setattr(ptm.train.trackers.background, "PATIENCE", 0.2)
    monkeypatch.setattr(wandb, "init", lambda **options: awake.wait(60) and _raise())
    began = time.monotonic()
    assert runs.train("tracked", WITH_WANDB) == EXIT_DONE
    assert time.monotonic() - began < 20
    awake.set()
    assert "wandb does not end within" in caplog.text
    assert runs.metrics("tracked")[-1]["step"] == 12


def test_a_slow_start_is_remarked_upon_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ptm.train.trackers.background, "PATIENCE", 0.05)
    awake = threading.Event()

    def make() -> Any:
        awake.wait(10)
        return Failing()

    background = Background("wandb", make)
    time.sleep(0.1)
    for step in range(3):
        background.log({}, step)
    awake.set()
    background.close()
    assert caplog.text.count("has not started within") == 1


def test_a_place_that_cannot_be_written_leaves_both_out(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file in the way stops the superuser as well, whom permissions do not."""
    (tmp_path / "wandb").touch()
    (tmp_path / "tensorboard").touch()
    trackers = Trackers(recipe, tmp_path)
    trackers.log(RECORD)
    trackers.close()
    assert "tensorboard cannot be used and is left out" in caplog.text
    assert "wandb cannot be used and is left out" in caplog.text


def test_without_tensorboard_the_extra_is_named(
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in list(sys.modules):
        if name == "tensorboard" or name.startswith(("tensorboard.", "torch.utils.tensorboard")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    only = recipe.tracking.model_copy(update={"wandb": None})
    Trackers(recipe.model_copy(update={"tracking": only}), tmp_path).close()
    assert "tensorboard cannot be used and is left out" in caplog.text
    assert "pip install -e '.[tensorboard]'" in caplog.text


def test_a_damaged_id_begins_another_run(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "wandb_run.json").write_text('{"id')
    Trackers(_quick(recipe), tmp_path).close()
    assert "W&B sees a new run" in caplog.text
    assert run_id(tmp_path) in offline_run(tmp_path).name
