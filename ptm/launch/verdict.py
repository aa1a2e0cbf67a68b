"""The outcome of a launch: one exit code and, on failure, the rank, the cause, the next command."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from ptm.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_STOPPED, EXIT_USER
from ptm.launch.causes import signal_name, why
from ptm.launch.notes import RankStatusFiles
from ptm.launch.processes import RankExit
from ptm.rank_status import RankStatus

_RANK_EXIT_CODES = (EXIT_DONE, EXIT_USER, EXIT_STOPPED, EXIT_INTERRUPTED)
_CONSEQUENCE = re.compile(
    r"connection (closed|reset|refused)|broken pipe|socket|gloo|nccl|peer|time[d ]*out|timeout",
    re.IGNORECASE,
)
"""Found in the error of a rank that lost its connection to a failed rank."""
_TIMEOUT = re.compile(r"time[d ]*out|timeout", re.IGNORECASE)
_MOST_STACK = 60


@dataclass(frozen=True)
class LaunchOutcome:
    """Everything known about a launch after all its processes have ended."""

    notes: Mapping[int, RankStatus]
    exits: Sequence[RankExit]
    """Exits of the ranks on this host, in order of time."""
    ranks: int
    launcher_code: int
    """Exit code of DeepSpeed's launcher, which forwards the code of a failed rank if it has one."""
    killed_before: int | None
    """`processes_killed_for_memory()` before the launch."""
    hosts: Sequence[str]
    """Host of each rank, as named in the hostfile."""


def common_exit_code(outcome: LaunchOutcome) -> int | None:
    """The exit code that all ranks share; None for a failure."""
    notes = outcome.notes
    if not notes and outcome.launcher_code == EXIT_USER:
        # Wrong input, found before the run folder was made. A rank has printed the reason.
        return EXIT_USER
    if len(notes) < outcome.ranks or not all(note.ended for note in notes.values()):
        return None
    codes = {note.code for note in notes.values()}
    (code, *others) = codes
    return code if not others and code in _RANK_EXIT_CODES else None


def failure_report(
    outcome: LaunchOutcome, notes: RankStatusFiles, run: Path, again: str
) -> list[str]:
    """The report on a failed launch: failed rank and cause, newest checkpoint, next command."""
    lines = _what_happened(outcome, notes)
    newest = _newest_checkpoint(run)
    lines.append(f"Newest complete checkpoint: {newest or 'none'}.")
    lines.append(f"{'Resume' if newest else 'Start again'} with: {again}")
    return lines


def _what_happened(outcome: LaunchOutcome, notes: RankStatusFiles) -> list[str]:
    found = outcome.notes
    first_failed = _failed_first(outcome)
    killed = _killed_first(outcome)
    timed_out = [note for note in found.values() if _TIMEOUT.search(note.error or "")]
    # After the timeout of a rank, DeepSpeed's launcher kills the rank that hangs. So a rank that
    # was killed is the cause only if it was the first to end.
    if timed_out and (killed is None or killed is not outcome.exits[0]):
        return [*_report_timeout(outcome, timed_out), *_last_calls(notes)]
    if killed is not None and (first_failed is None or _is_consequence(first_failed)):
        return _killed(outcome, notes, killed.rank, killed.signal, killed.pid)
    silent = [rank for rank in range(outcome.ranks) if rank not in found or not found[rank].ended]
    if first_failed is not None and not _is_consequence(first_failed):
        return [_failed(outcome, first_failed)]
    if silent:
        number = _signal_of(outcome.launcher_code)
        # If several ranks are silent: the first that was seen to end, or else the oldest status.
        order = [death.rank for death in outcome.exits]
        rank = min(
            silent,
            key=lambda rank: (
                order.index(rank) if rank in order else len(order),
                found[rank].time if rank in found else 0.0,
            ),
        )
        dead = next((death for death in outcome.exits if death.rank == rank), None)
        pid = found[rank].pid if rank in found else dead.pid if dead else -1
        if number is not None:
            return _killed(outcome, notes, rank, number, pid)
        code = dead.code if dead and dead.code > 0 else outcome.launcher_code
        return [
            f"{_describe_rank(outcome, rank)} exited without recording a "
            f"reason{_at(found.get(rank))} (exit code {code}). See its output above."
        ]
    if first_failed is not None:
        return [_failed(outcome, first_failed)]
    codes = {note.rank: note.code for note in found.values()}
    return [f"The ranks ended with different exit codes (rank: code): {codes}."]


def _killed_first(outcome: LaunchOutcome) -> RankExit | None:
    """The first rank killed by a signal, other than the launcher's SIGTERM after a failed rank."""
    for death in outcome.exits:
        if death.signal > 0 and (death.signal != signal.SIGTERM or death is outcome.exits[0]):
            return death
    return None


def _failed_first(outcome: LaunchOutcome) -> RankStatus | None:
    """The first rank to fail by itself, or else the first to fail because of another rank."""
    failed = [note for note in outcome.notes.values() if note.ended and note.error]
    failed.sort(key=lambda note: (_is_consequence(note), note.time))
    return failed[0] if failed else None


def is_consequence(error: str) -> bool:
    """Whether an error of a rank is the consequence of another rank's failure."""
    return bool(_CONSEQUENCE.search(error))


def _is_consequence(note: RankStatus) -> bool:
    return is_consequence(note.error or "")


def _killed(
    outcome: LaunchOutcome, notes: RankStatusFiles, rank: int, number: int, pid: int
) -> list[str]:
    note = outcome.notes.get(rank)
    host = note.host if note else outcome.hosts[rank]
    reason = why(number, host=host, pid=pid, killed_before=outcome.killed_before)
    head = f"{_describe_rank(outcome, rank)} was killed by signal {signal_name(number)}{_at(note)}."
    return [f"{head} {reason}".rstrip(), *_crashed_thread(notes.stacks(rank))]


def _crashed_thread(stacks: Sequence[str]) -> list[str]:
    """Lines of faulthandler's output on the thread that crashed."""
    begin = next((i for i, line in enumerate(stacks) if line.startswith("Current thread")), 0)
    return [*takewhile(str.strip, stacks[begin : begin + _MOST_STACK])]


def _failed(outcome: LaunchOutcome, note: RankStatus) -> str:
    return f"{_describe_rank(outcome, note.rank)} failed{_at(note)}: {_first_error_line(note)}"


def _report_timeout(outcome: LaunchOutcome, timed_out: Sequence[RankStatus]) -> list[str]:
    waiting = {note.rank for note in timed_out}
    others = [note for note in outcome.notes.values() if note.rank not in waiting]
    oldest = min(others or timed_out, key=lambda note: (note.step, note.time))
    lines = [
        f"Waited for another rank longer than engine.timeout_minutes: {len(waiting)} rank(s).",
        _failed(outcome, timed_out[0]),
    ]
    missing = [rank for rank in range(outcome.ranks) if rank not in outcome.notes]
    if missing:
        return [
            *lines,
            f"{_describe_rank(outcome, missing[0])} never started: other ranks waited for it.",
        ]
    return [
        *lines,
        f"Probably waited for: {_describe_rank(outcome, oldest.rank)}, last seen{_at(oldest)}.",
    ]


def _last_calls(notes: RankStatusFiles) -> list[str]:
    files = notes.calls()
    return [f"Last communication calls of ranks: {', '.join(map(str, files))}."] if files else []


def _describe_rank(outcome: LaunchOutcome, rank: int) -> str:
    note = outcome.notes.get(rank)
    if note is None:
        return f"Rank {rank} on {outcome.hosts[rank]}"
    return f"Rank {rank} on {note.host} (process {note.pid})"


def _at(note: RankStatus | None) -> str:
    if note is None:
        return " before training started"
    return f" at step {note.step}" if note.ended else f" at step {note.step}, while {note.phase}"


def _first_error_line(note: RankStatus) -> str:
    lines = (note.error or "").strip().splitlines()
    return lines[0] if lines else f"exit code {note.code}"


def _signal_of(code: int) -> int | None:
    """The signal number in an exit code: 9 for -9, 247 (DeepSpeed's -9) and 137 (128 + 9)."""
    if code < 0:
        return -code
    if 128 < code <= 192:
        return code - 128
    return 256 - code if 192 < code < 256 else None


def _newest_checkpoint(run: Path) -> Path | None:
    """Folder of the newest checkpoint; only complete checkpoints are named global_step<N>."""
    found = [
        (int(path.name.removeprefix("global_step")), path)
        for path in (run / "checkpoints").glob("global_step*")
        if path.name.removeprefix("global_step").isdigit()
    ]
    return max(found)[1] if found else None
