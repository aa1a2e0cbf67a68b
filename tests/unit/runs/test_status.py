"""The state of a run is read from its files."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ptm.cli.commands.runs import fitting_table
from ptm.cli.program import run_program
from ptm.errors import EXIT_DONE, EXIT_FAULT, EXIT_INTERRUPTED, EXIT_STOPPED, EXIT_USER
from ptm.runs.status import RunStatus, State, run_status, run_statuses
from tests.support.run_folders import write_rank, write_run

TRAIN = {"step": 40, "split": "train", "loss": 2.5, "tokens_per_second": 1000.0}
EVAL = {"step": 40, "split": "eval", "loss": 2.75}
ENDED: dict[str, Any] = {"phase": "ended", "error": None, "step": 40}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "runs" / "one", "train.steps=100", records=[TRAIN, EVAL])


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_run_with_living_ranks_is_running(run: Path) -> None:
    write_rank(run, 0, step=43)
    write_rank(run, 1, step=43, host="elsewhere")
    found = run_status(run)
    assert (found.state, found.step, found.steps, found.share) == ("running", 43, 100, 0.43)
    assert found.losses == {"train": 2.5, "eval": 2.75}
    assert found.tokens_per_second == 1000.0


@pytest.mark.parametrize(
    ("codes", "state"),
    [
        ((EXIT_DONE, EXIT_DONE), "done"),
        ((EXIT_STOPPED, EXIT_STOPPED), "stopped"),
        ((EXIT_INTERRUPTED, EXIT_INTERRUPTED), "stopped"),
        ((EXIT_INTERRUPTED, EXIT_FAULT), "died"),
        ((EXIT_DONE, EXIT_FAULT), "died"),
        ((EXIT_USER, EXIT_USER), "died"),
    ],
)
def test_ended_ranks_say_how_the_run_ended(run: Path, codes: tuple[int, int], state: str) -> None:
    for rank, code in enumerate(codes):
        error = "ValueError: no" if code in (EXIT_FAULT, EXIT_USER) else None
        write_rank(run, rank, **{**ENDED, "code": code, "error": error})
    found = run_status(run)
    assert found.state == state
    assert ("ValueError: no" in found.reason) == (state == "died")


def test_a_killed_rank_is_dead(run: Path) -> None:
    write_rank(run, 0)
    write_rank(run, 1, pid=dead_pid())
    found = run_status(run)
    assert (found.state, "rank 1" in found.reason) == ("died", True)


def test_a_process_that_took_the_number_of_a_dead_rank_is_not_this_rank(run: Path) -> None:
    # This process was started after the file was written.
    write_rank(run, 0, time=1.0e9)
    assert run_status(run).state == "died"


def test_a_rank_of_another_host_is_dead_after_ten_silent_minutes(run: Path) -> None:
    write_rank(run, 0, host="elsewhere", time=time.time() - 590)
    assert run_status(run).state == "running"
    write_rank(run, 0, host="elsewhere", time=time.time() - 610)
    assert run_status(run).state == "died"


def test_the_steps_of_epochs_are_those_that_the_ranks_wrote(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", "train.steps=null", "train.epochs=3", records=[TRAIN])
    assert run_status(run).steps is None
    write_rank(run, 0, **{**ENDED, "code": EXIT_DONE, "steps": 80})
    assert (run_status(run).steps, run_status(run).share) == (80, 0.5)


def test_a_run_without_rank_files_is_done_after_its_last_step(tmp_path: Path) -> None:
    whole = write_run(tmp_path / "a", "train.steps=40", records=[TRAIN])
    part = write_run(tmp_path / "b", "train.steps=80", records=[TRAIN])
    assert [run_status(whole).state, run_status(part).state] == ["done", "stopped"]


def test_damage_is_named_and_hides_no_other_run(run: Path) -> None:
    broken = write_run(run.parent / "broken", records=[TRAIN])
    (broken / "metrics.jsonl").write_text("{\n", encoding="utf-8")
    bad_rank = write_run(run.parent / "bad-rank", records=[TRAIN])
    (bad_rank / "ranks").mkdir()
    (bad_rank / "ranks" / "rank00000.json").write_text("{", encoding="utf-8")
    other = write_run(run.parent / "bad-environment", records=[TRAIN])
    (other / "environment.json").write_text("{", encoding="utf-8")
    found = {one.path.name: one for one in run_statuses(run.parent)}
    assert {name: one.state for name, one in found.items()} == {
        "one": "stopped",
        "broken": "damaged",
        "bad-rank": "damaged",
        "bad-environment": "damaged",
    }
    assert "environment.json" in found["bad-environment"].reason
    assert "metrics.jsonl:1" in found["broken"].reason
    assert "rank00000.json" in found["bad-rank"].reason


def ptm(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        run_program(arguments)
    out, err = capsys.readouterr()
    code = ended.value.code
    assert isinstance(code, int)
    return code, out, err


def test_the_table_is_plain_where_it_is_not_a_terminal(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rank(run, 0, **{**ENDED, "code": EXIT_STOPPED})
    code, out, _ = ptm("runs", str(run.parent), capsys=capsys)
    header, line = out.splitlines()
    assert code == EXIT_DONE
    assert "\x1b" not in out
    assert header.split()[:4] == ["RUN", "STATE", "STEP", "SAVED"]
    assert line.split()[:5] == ["one", "stopped", "40/100", "40", "%"]
    assert "2.5000" in line


def test_json_has_the_same_states(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rank(run, 0)
    _, out, _ = ptm("runs", str(run.parent), "--json", capsys=capsys)
    (found,) = json.loads(out)
    assert (found["state"], found["step"], found["losses"]["eval"]) == ("running", 40, 2.75)


def test_watch_shows_running_and_newest_runs_where_not_all_have_room(run: Path) -> None:
    many: list[State] = ["done"] * 20
    states: list[State] = ["died", "running", *many, "died", "done"]
    found = [
        RunStatus(run.parent / f"run{number:02}", state, reason="killed" * (state == "died"))
        for number, state in enumerate(states)
    ]

    def screen(rows: int) -> list[str]:
        console = Console(file=io.StringIO(), width=60, height=rows, force_terminal=True)
        console.print(fitting_table(found, console))
        text = console.file.getvalue()  # type: ignore[attr-defined]
        return [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()]

    lines = screen(10)
    assert len(lines) <= 9
    names = [line.split()[0] for line in lines]
    assert names[1] == "run01"
    assert names[2:6] == ["run20", "run21", "run22", "run23"]
    assert "19 more" in lines
    assert any("run22: died: killed" in line for line in lines)
    assert not any("run00" in line for line in lines)
    everything = screen(40)
    assert "more" not in "\n".join(everything)
    assert len(everything) >= 1 + len(found) + 2


def test_watch_needs_a_terminal(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ptm("runs", str(run.parent), "--watch", capsys=capsys)
    assert (code, "terminal" in err) == (EXIT_USER, True)
