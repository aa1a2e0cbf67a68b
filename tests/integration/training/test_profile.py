"""`train.profile` and `ptm profile`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.recipe.profile_file import read_profile
from tests.support.small_runs import Runs

PROFILED = "train.profile={start: 3, steps: 2}"


@pytest.fixture
def profiled(runs: Runs) -> Path:
    assert runs.train("run", PROFILED) == EXIT_DONE
    return runs.folder / "run"


def test_the_profile_is_that_of_the_steps_of_the_recipe(profiled: Path) -> None:
    found = read_profile(profiled)
    assert (found.device, found.first_step, found.steps) == ("cpu", 3, 2)
    assert 0 <= found.waiting["data"] < found.seconds
    calls = {one.name: one.calls for one in found.operations}
    # One layer, two micro-batches in each of two steps.
    assert calls["aten::scaled_dot_product_attention"] == 4
    assert sum(one.cpu_seconds for one in found.operations) < 1.5 * found.seconds
    with gzip.open(profiled / "profile" / "trace.json.gz", "rt", encoding="utf-8") as trace:
        assert json.load(trace)["traceEvents"]


def test_the_command_prints_the_costliest_operations(
    profiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["profile", str(profiled), "--count", "3"]) == EXIT_DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("steps 3 to 4 of rank 0 on cpu: ")
    assert any(line.startswith("waiting for data: ") for line in lines)
    table = lines[lines.index("") + 2 : len(lines) - 2]
    shares = [float(line.split()[0]) for line in table]
    assert len(shares) == 3
    assert shares == sorted(shares, reverse=True)


def test_a_profile_changes_no_loss_and_may_be_added_at_a_resume(runs: Runs) -> None:
    assert runs.train("plain") == EXIT_DONE
    runs.train("run", stop_at=2)
    assert runs.train("run", PROFILED) == EXIT_DONE
    assert runs.metrics("run") == runs.metrics("plain")
    assert read_profile(runs.folder / "run").steps == 2


def test_a_training_that_ends_first_has_the_profile_of_its_last_steps(runs: Runs) -> None:
    assert runs.train("run", "train.profile={start: 11, steps: 50}") == EXIT_DONE
    assert read_profile(runs.folder / "run").steps == 2


def test_a_profile_of_steps_that_are_not_done_is_warned_of(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    assert runs.train("run", "train.profile={start: 100, steps: 2}") == EXIT_DONE
    assert "no profile was made, because step 100 was not among the steps" in caplog.text


def test_a_folder_that_does_not_exist_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder"):
        read_profile(tmp_path / "missing")


@pytest.mark.parametrize("content", [None, "{}", "not JSON"])
def test_a_run_without_a_profile_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    if content is not None:
        (tmp_path / "profile").mkdir()
        (tmp_path / "profile" / "operations.json").write_text(content)
    assert main(["profile", str(tmp_path)]) == EXIT_USER
    message = capsys.readouterr().err
    assert ("the file is damaged" if content else "there is no profile") in message
    assert len(message.splitlines()) == 1
