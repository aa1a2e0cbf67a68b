"""Exit code and report of a launch, from the evidence after all its processes have ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ptm.launch.notes import RankStatusFiles
from ptm.launch.processes import RankExit
from ptm.launch.verdict import LaunchOutcome, common_exit_code, failure_report
from ptm.rank_status import RankStatus

RESET = "RuntimeError: gloo: Connection reset by peer"
UNRECORDED = (
    "Rank 1 on node-1 exited without recording a reason before training started (exit code 1)"
)


def note(rank: int, **changes: object) -> RankStatus:
    made = RankStatus(rank, f"node-{rank}", 100 + rank, 10.0, "ended", 8, code=0)
    return replace(made, **changes)  # type: ignore[arg-type]


def evidence(
    *notes: RankStatus, exits: tuple[RankExit, ...] = (), code: int = 1, ranks: int = 2
) -> LaunchOutcome:
    found = {one.rank: one for one in notes}
    return LaunchOutcome(found, exits, ranks, code, 0, [f"node-{rank}" for rank in range(ranks)])


def report(found: LaunchOutcome, run: Path) -> str:
    return "\n".join(failure_report(found, RankStatusFiles(run, "1"), run, "ptm launch r.yaml"))


@pytest.mark.parametrize("code", [0, 2, 75, 130])
@pytest.mark.parametrize("launcher", [0, 1, 143, 247])
def test_the_exit_code_of_all_ranks_overrides_that_of_the_launcher(
    code: int, launcher: int
) -> None:
    assert common_exit_code(evidence(note(0, code=code), note(1, code=code), code=launcher)) == code


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(evidence(note(0), code=0), id="a rank never started"),
        pytest.param(evidence(note(0), note(1, phase="training"), code=0), id="a rank was killed"),
        pytest.param(evidence(note(0), note(1, code=75)), id="different exit codes"),
        pytest.param(evidence(note(0, code=1), note(1, code=1)), id="all ranks failed"),
        pytest.param(evidence(code=0), id="no rank started and the launcher exited with 0"),
    ],
)
def test_any_other_end_is_a_failure(found: LaunchOutcome) -> None:
    assert common_exit_code(found) is None


def test_wrong_input_found_before_the_run_folder_exists_is_exit_code_2() -> None:
    assert common_exit_code(evidence(code=2)) == 2


def test_the_rank_that_failed_first_is_named_and_not_the_ranks_it_brought_down(
    tmp_path: Path,
) -> None:
    first = note(1, code=1, time=20.0, error="OutOfMemoryError: CUDA out of memory\nmore")
    brought_down = note(0, code=1, time=19.0, error=RESET)

    text = report(evidence(brought_down, first), tmp_path)

    assert text.startswith("Rank 1 on node-1 (process 101) failed at step 8: OutOfMemoryError")
    assert "Newest complete checkpoint: none." in text
    assert text.endswith("Start again with: ptm launch r.yaml")


@pytest.mark.parametrize("code", [247, 137, -9])
def test_an_unobserved_signal_is_derived_from_the_exit_code_of_the_launcher(
    tmp_path: Path, code: int
) -> None:
    silent = note(1, phase="saving", code=None)

    text = report(evidence(note(0, code=1, error=RESET), silent, code=code), tmp_path)

    assert "Rank 1 on node-1 (process 101) was killed by signal 9 (SIGKILL) at step 8" in text
    assert "while saving" in text
    assert "memory" in text


def test_of_two_killed_ranks_the_first_is_named(tmp_path: Path) -> None:
    # DeepSpeed's launcher kills the ranks that wait for a dead one after 30 seconds.
    waiting = [note(rank, phase="training", code=None) for rank in range(2)]
    exits = (RankExit(1, 101, 7, 0), RankExit(0, 100, 9, 0))

    text = report(evidence(*waiting, exits=exits), tmp_path)

    assert "Rank 1 on node-1 (process 101) was killed by signal 7 (SIGBUS)" in text
    assert "/dev/shm" in text


def test_the_rank_that_other_ranks_waited_for_is_named(tmp_path: Path) -> None:
    timed_out = "RuntimeError: Timed out waiting 1800000ms for recv operation to complete"
    waiting = note(0, code=1, step=9, error=timed_out)
    stuck = note(1, phase="evaluating", step=8, time=1.0, code=None)
    exits = (RankExit(0, 100, 0, 1), RankExit(1, 101, 9, 0))

    text = report(evidence(waiting, stuck, exits=exits, code=1), tmp_path)

    # DeepSpeed's launcher killed rank 1 half a minute after rank 0 had failed.
    assert "longer than engine.timeout_minutes: 1 rank(s)" in text
    assert "Probably waited for: Rank 1 on node-1 (process 101)" in text
    assert "last seen at step 8, while evaluating" in text


def test_a_rank_that_fails_before_training_starts_is_named(tmp_path: Path) -> None:
    exits = (RankExit(1, 101, 0, 1), RankExit(0, 100, 15, 0))

    text = report(evidence(exits=exits, code=1), tmp_path)

    assert UNRECORDED in text


def test_a_rank_that_never_started_is_named(tmp_path: Path) -> None:
    text = report(evidence(note(0, code=1, error=RESET), code=1), tmp_path)

    assert UNRECORDED in text


def test_status_files_of_an_earlier_launch_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "ranks").mkdir()
    text = '{"rank": 0, "host": "a", "pid": 1, "launch": "%s", "time": 1, "phase": "ended",'
    text += ' "step": 3, "code": 0, "error": null}'
    (tmp_path / "ranks" / "rank00000.json").write_text(text % "old")
    (tmp_path / "ranks" / "rank00001.json").write_text(text[:30])

    assert RankStatusFiles(tmp_path, "new").here() == {}
    assert RankStatusFiles(tmp_path, "old").here()[0].step == 3
