"""Reports and logs that cannot be written, and output without a reader, do not harm a training."""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path

import pytest

from ptm.errors import EXIT_DONE, EXIT_STOPPED
from ptm.recipe import load_recipe
from ptm.train.line_file import LineFile
from ptm.train.run import train
from tests.support.faults import failing_writes
from tests.support.launched import fork_command
from tests.support.small_runs import Calm, Runs

# A spike is any loss above its recent mean by a deviation, so that events.jsonl has lines.
OPTIONS = (
    "train.anomalies={policy: skip, sigmas: 1, window: 4, limit: 1000}",
    *("train.steps=16", "tracking.log_every=1"),
)
FILES = ("metrics.jsonl", "events.jsonl", "train.log")


@pytest.fixture(autouse=True)
def _messages_reach_caplog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("ptm"), "propagate", True)


def events(runs: Runs, name: str) -> list[int]:
    lines = (runs.folder / name / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["step"] for line in lines]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_a_training_outlives_files_that_cannot_be_written(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    assert runs.train("calm", *OPTIONS) == EXIT_DONE
    expected = events(runs, "calm")
    assert any(3 < step <= 13 for step in expected)
    assert any(step > 13 for step in expected)
    switch = failing_writes(monkeypatch, FILES, number)
    recipe, *rest = runs.arguments("disturbed", *OPTIONS)
    code = train(
        lambda: load_recipe(recipe, rest),
        fresh=False,
        on_step_begin=lambda done: switch(3 <= done < 13),
    )
    assert code == EXIT_DONE
    # What was kept is written when there is room again, whole lines in their order.
    assert runs.metrics("disturbed") == runs.metrics("calm")
    assert events(runs, "disturbed") == expected
    log = (runs.folder / "disturbed" / "train.log").read_text(encoding="utf-8")
    for name in FILES:
        assert caplog.text.count(f"{name}: cannot be written ({os.strerror(number)})") == 1
        assert log.count(f"{name}: can be written again; lines lost: 0") == 1
    for step in range(1, 17):
        assert f"step {step}/16" in log


def test_a_training_outlives_a_disk_that_stays_full(
    runs: Runs, calm: Calm, caplog: pytest.LogCaptureFixture
) -> None:
    folder = runs.folder / "run"
    # ptm does not start a run in a folder that somebody else has put such links into.
    assert runs.train("run", stop_at=1) == EXIT_STOPPED
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to("/dev/full")
    assert runs.train("run") == EXIT_DONE
    assert runs.checkpoints("run")[-1] == 12
    assert caplog.text.count("metrics.jsonl: cannot be written (No space left on device)") == 1
    assert "metrics.jsonl: could not be written; lines lost: 5" in caplog.text
    for name in FILES:
        (folder / name).unlink()
    assert runs.train("run", "train.steps=12") == EXIT_DONE


def test_lines_that_are_kept_have_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = LineFile(tmp_path / "lines")
    switch = failing_writes(monkeypatch, {"lines"}, errno.ENOSPC)
    file.append("first")
    switch(True)
    for number in range(5):
        file.append(str(number) * 300_000)
    switch(False)
    file.append("last")
    file.close()
    lines = (tmp_path / "lines").read_text(encoding="utf-8").splitlines()
    assert [line[:5] for line in lines] == ["first", "00000", "11111", "22222", "last"]
    assert "can be written again; lines lost: 2" in caplog.text


def test_a_training_ends_as_usual_on_a_full_output(runs: Runs, calm: Calm) -> None:
    process = fork_command(["train", *runs.arguments("run")], log=Path("/dev/full"))
    process.join(60)
    assert process.exitcode == EXIT_DONE
    assert runs.metrics("run") == calm()


def test_a_training_ends_as_usual_when_its_reader_leaves(
    runs: Runs, calm: Calm, tmp_path: Path
) -> None:
    fifo = tmp_path / "output"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    process = fork_command(["train", *runs.arguments("run")], log=fifo)
    os.set_blocking(reader, True)
    while process.is_alive() and not os.read(reader, 1):
        continue
    os.close(reader)
    process.join(60)
    assert process.exitcode == EXIT_DONE
    assert runs.metrics("run") == calm()
