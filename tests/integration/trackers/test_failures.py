"""A tracker that fails or hangs does not stop the training."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import wandb

import ptm.train.trackers
import ptm.train.trackers.background
import ptm.train.trackers.wandb
from ptm.errors import EXIT_DONE
from ptm.recipe import Recipe
from ptm.train.samples.record import SampleRecord
from ptm.train.trackers import EndState, Tracker, Trackers, known_trackers
from ptm.train.trackers.background import Background
from ptm.train.trackers.base import RecipeTracker
from tests.integration.trackers.reading import (
    BOTH,
    RECORD,
    WITH_WANDB,
)
from tests.support.small_runs import Runs


class Failing:
    def __init__(self) -> None:
        self.calls = 0

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.calls += 1
        raise OSError("the tracker's disk is full")

    def log_samples(self, record: SampleRecord) -> None:
        raise AssertionError("a disabled tracker gets no samples")

    def alert(self, title: str, text: str, *, is_error: bool) -> None:
        raise AssertionError("no alert is expected")

    def close(self, state: EndState) -> None:
        raise OSError("still full")


def _replaced(monkeypatch: pytest.MonkeyPatch, **trackers: Tracker) -> None:
    """Let the trackers of these keys be stand-ins, on the thread of training."""

    def stand_in(key: str) -> type[RecipeTracker]:
        class StandIn:
            PACKAGE = "ptm"
            WAITS_FOR_NETWORK = False

            def __new__(cls, *arguments: object) -> Any:
                return trackers[key]

        return cast("type[RecipeTracker]", StandIn)

    known = {**known_trackers(), **{key: stand_in(key) for key in trackers}}
    monkeypatch.setattr(ptm.train.trackers, "known_trackers", lambda: known)


def _raise(*arguments: object, **options: object) -> Any:
    raise OSError("no space left for it")


def test_training_continues_without_failing_trackers(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Failing()
    _replaced(monkeypatch, tensorboard=failing)
    monkeypatch.setattr(wandb, "init", _raise)
    assert runs.train("tracked", *BOTH) == EXIT_DONE
    assert failing.calls == 1
    assert "tensorboard failed and is now disabled: the tracker's disk" in caplog.text
    assert "wandb cannot be used and is disabled: no space left for it" in caplog.text
    assert runs.metrics("tracked")[-1]["step"] == 12


def test_a_tracker_that_cannot_be_closed_is_named(
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _replaced(monkeypatch, tensorboard=Failing(), wandb=Failing())
    Trackers(recipe, tmp_path).close()
    assert "tensorboard could not be closed: still full" in caplog.text
    assert "wandb could not be closed: still full" in caplog.text


def test_a_tracker_that_fails_on_its_thread_is_not_called_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = Failing()
    background = Background("wandb", lambda: failing)
    for step in range(3):
        background.log({}, step)
    background.close("done")
    assert failing.calls == 1
    assert caplog.text.count("wandb failed and is now disabled") == 1


def test_a_hanging_start_of_wandb_does_not_delay_training(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    awake = threading.Event()
    monkeypatch.setattr(ptm.train.trackers.background, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(wandb, "init", lambda **options: awake.wait(60) and _raise())
    began = time.monotonic()
    assert runs.train("tracked", WITH_WANDB) == EXIT_DONE
    assert time.monotonic() - began < 20
    awake.set()
    assert "wandb did not finish within" in caplog.text
    assert runs.metrics("tracked")[-1]["step"] == 12


def test_a_slow_start_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ptm.train.trackers.background, "TIMEOUT_SECONDS", 0.05)
    awake = threading.Event()

    def make() -> Any:
        awake.wait(10)
        return Failing()

    background = Background("wandb", make)
    time.sleep(0.1)
    for step in range(3):
        background.log({}, step)
    awake.set()
    background.close("done")
    assert caplog.text.count("has not started within") == 1


def test_trackers_that_cannot_write_their_folders_are_left_out(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file in place of the folder stops root as well, which permissions would not."""
    (tmp_path / "wandb").touch()
    (tmp_path / "tensorboard").touch()
    trackers = Trackers(recipe, tmp_path)
    trackers.log(RECORD)
    trackers.close()
    assert "tensorboard cannot be used and is disabled" in caplog.text
    assert "wandb cannot be used and is disabled" in caplog.text


def test_without_tensorboard_the_extra_to_install_is_named(
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
    assert "tensorboard cannot be used and is disabled" in caplog.text
    assert "pip install -e '.[tensorboard]'" in caplog.text
