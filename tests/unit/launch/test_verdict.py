"""Exit codes and explanations, from what is found when nothing runs any more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ptm.launch.notes import Note, Notes
from ptm.launch.processes import Death
from ptm.launch.verdict import Evidence, agreed_code, explanation

RESET = "RuntimeError: gloo: Connection reset by peer"


def note(rank: int, **changes: object) -> Note:
    made = Note(rank, f"node-{rank}", 100 + rank, 10.0, "ended", 8, code=0)
    return replace(made, **changes)  # type: ignore[arg-type]


def evidence(
    *notes: Note, deaths: tuple[Death, ...] = (), code: int = 1, ranks: int = 2
) -> Evidence:
    found = {one.rank: one for one in notes}
    return Evidence(found, deaths, ranks, code, 0, [f"node-{rank}" for rank in range(ranks)])


def told(found: Evidence, run: Path) -> str:
    return "\n".join(explanation(found, Notes(run, "1"), run, "ptm launch r.yaml"))


@pytest.mark.parametrize("code", [0, 2, 75, 130])
@pytest.mark.parametrize("launcher", [0, 1, 143, 247])
def test_what_all_ranks_say_counts_whatever_the_launcher_says(code: int, launcher: int) -> None:
    assert agreed_code(evidence(note(0, code=code), note(1, code=code), code=launcher)) == code


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(evidence(note(0), code=0), id="one has never begun"),
        pytest.param(evidence(note(0), note(1, phase="training"), code=0), id="one has not ended"),
        pytest.param(evidence(note(0), note(1, code=75)), id="they do not agree"),
        pytest.param(evidence(note(0, code=1), note(1, code=1)), id="a fault"),
        pytest.param(evidence(code=0), id="nobody has begun and the launcher says 0"),
    ],
)
def test_anything_else_is_a_fault(found: Evidence) -> None:
    assert agreed_code(found) is None


def test_what_ranks_refuse_before_they_have_a_folder_is_the_users(tmp_path: Path) -> None:
    assert agreed_code(evidence(code=2)) == 2


def test_the_rank_that_failed_first_is_named_and_not_those_it_brought_down(tmp_path: Path) -> None:
    first = note(1, code=1, time=20.0, error="OutOfMemoryError: CUDA out of memory\nmore")
    brought_down = note(0, code=1, time=19.0, error=RESET)

    said = told(evidence(brought_down, first), tmp_path)

    assert said.startswith("Rank 1 on node-1 (process 101) failed at step 8: OutOfMemoryError")
    assert "The last whole checkpoint: none." in said
    assert said.endswith("Start again with: ptm launch r.yaml")


@pytest.mark.parametrize("code", [247, 137, -9])
def test_the_signal_is_taken_from_the_launchers_code_where_nobody_saw_it(
    tmp_path: Path, code: int
) -> None:
    silent = note(1, phase="saving", code=None)

    said = told(evidence(note(0, code=1, error=RESET), silent, code=code), tmp_path)

    assert "Rank 1 on node-1 (process 101) was killed by signal 9 (SIGKILL) at step 8" in said
    assert "while saving" in said
    assert "memory" in said


def test_of_two_that_were_killed_the_first_is_named(tmp_path: Path) -> None:
    # DeepSpeed's launcher kills those that wait for a dead one after 30 seconds.
    waiting = [note(rank, phase="training", code=None) for rank in range(2)]
    deaths = (Death(1, 101, 7, 0), Death(0, 100, 9, 0))

    said = told(evidence(*waiting, deaths=deaths), tmp_path)

    assert "Rank 1 on node-1 (process 101) was killed by signal 7 (SIGBUS)" in said
    assert "/dev/shm" in said


def test_the_rank_that_others_waited_for_is_named(tmp_path: Path) -> None:
    timed_out = "RuntimeError: Timed out waiting 1800000ms for recv operation to complete"
    waiting = note(0, code=1, step=9, error=timed_out)
    stuck = note(1, phase="evaluating", step=8, time=1.0, code=None)
    deaths = (Death(0, 100, 0, 1), Death(1, 101, 9, 0))

    said = told(evidence(waiting, stuck, deaths=deaths, code=1), tmp_path)

    # Killed by DeepSpeed's launcher, half a minute after the other had failed.
    assert "waited longer than engine.timeout_minutes" in said
    assert "They waited for Rank 1 on node-1 (process 101)" in said
    assert "at step 8, while evaluating" in said


def test_a_rank_that_ends_others_before_they_have_begun_is_named(tmp_path: Path) -> None:
    deaths = (Death(1, 101, 0, 1), Death(0, 100, 15, 0))

    said = told(evidence(deaths=deaths, code=1), tmp_path)

    assert "Rank 1 on node-1 ended without saying how before it had begun (exit code 1)" in said


def test_a_rank_that_never_began_is_named(tmp_path: Path) -> None:
    said = told(evidence(note(0, code=1, error=RESET), code=1), tmp_path)

    assert "Rank 1 on node-1 ended without saying how before it had begun (exit code 1)" in said


def test_notes_of_an_earlier_start_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "ranks").mkdir()
    text = '{"rank": 0, "host": "a", "pid": 1, "launch": "%s", "time": 1, "phase": "ended",'
    text += ' "step": 3, "code": 0, "error": null}'
    (tmp_path / "ranks" / "rank00000.json").write_text(text % "old")
    (tmp_path / "ranks" / "rank00001.json").write_text(text[:30])

    assert Notes(tmp_path, "new").here() == {}
    assert Notes(tmp_path, "old").here()[0].step == 3
