"""The progress of a command: no time left is shown before it can be estimated."""

from __future__ import annotations

import pytest

from ptm.cli import progress
from ptm.console.phases import begin_phase, report_done


@pytest.mark.parametrize(
    ("seconds", "done", "has_eta"),
    [(2, 100, False), (20, 8, False), (20, 100, True), (70, 8, True), (70, 0, False)],
)
def test_the_time_left_needs_some_seconds_and_some_share(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seconds: int,
    done: int,
    has_eta: bool,
) -> None:
    now = 1000.0
    monkeypatch.setattr(progress, "SECONDS_BEFORE_LINES", 0.0)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr("ptm.cli.progress.time.monotonic", lambda: now)
    with progress.Progress("texts.txt"):
        begin_phase("predicting", total=1000, unit="inputs")
        now += seconds
        report_done(done)
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"{done}/1,000 inputs" in last
    assert ("ETA" in last) == has_eta
