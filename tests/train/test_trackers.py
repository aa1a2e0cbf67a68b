"""Trackers see every report under their names, and one that fails never stops a training."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

import ptm.train.trackers
from ptm.errors import EXIT_DONE
from ptm.train.trackers import tracker_values
from tests.train.conftest import Runs

RECORD = {"step": 10, "split": "train", "loss": 2.5, "tokens_per_second": 100.0, "tokens": 7}


def test_names_say_the_split_or_that_it_is_about_speed() -> None:
    assert tracker_values(RECORD) == {
        "train/loss": 2.5,
        "perf/tokens_per_second": 100.0,
        "train/tokens": 7.0,
    }


class Failing:
    def __init__(self, *arguments: object) -> None:
        self.calls = 0

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.calls += 1
        raise OSError("the tracker's disk is full")

    def close(self) -> None:
        raise OSError("still full")


def test_a_tracker_that_fails_is_left_out(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import logging

    logging.getLogger("ptm").propagate = True
    failing = Failing()
    monkeypatch.setattr(ptm.train.trackers, "_TensorBoard", lambda folder: failing)
    assert runs.train("tracked", "tracking.tensorboard=true") == EXIT_DONE
    assert failing.calls == 1
    assert "left out from here on" in caplog.text
    assert runs.metrics("tracked")[-1]["step"] == 12
