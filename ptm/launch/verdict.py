"""What became of a launch: one exit code, and for a fault which rank, why, and how to go on."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from ptm.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_STOPPED, EXIT_USER
from ptm.launch.causes import name_of, why
from ptm.launch.notes import Note, Notes
from ptm.launch.processes import Death

_SAID_BY_RANKS = (EXIT_DONE, EXIT_USER, EXIT_STOPPED, EXIT_INTERRUPTED)
_CONSEQUENCE = re.compile(
    r"connection (closed|reset|refused)|broken pipe|socket|gloo|nccl|peer|time[d ]*out|timeout",
    re.IGNORECASE,
)
"""In what a rank says when another one is gone."""
_TIMEOUT = re.compile(r"time[d ]*out|timeout", re.IGNORECASE)
_MOST_STACK = 60


@dataclass(frozen=True)
class Evidence:
    """All that is known when nothing runs any more."""

    notes: Mapping[int, Note]
    deaths: Sequence[Death]
    """Of ranks on this host, in their order."""
    ranks: int
    launcher_code: int
    """DeepSpeed's, which passes on what it knows."""
    killed_before: int | None
    """Processes the kernel had killed for want of memory before."""
    hosts: Sequence[str]
    """Of each rank, as the hostfile names them."""


def agreed_code(evidence: Evidence) -> int | None:
    """The code all ranks ended with, if it is none of a fault."""
    notes = evidence.notes
    if not notes and evidence.launcher_code == EXIT_USER:
        # Refused before there was a run folder; a rank has said why.
        return EXIT_USER
    if len(notes) < evidence.ranks or not all(note.ended for note in notes.values()):
        return None
    codes = {note.code for note in notes.values()}
    (code, *others) = codes
    return code if not others and code in _SAID_BY_RANKS else None


def explanation(evidence: Evidence, notes: Notes, run: Path, again: str) -> list[str]:
    """The last lines of a launch that failed."""
    lines = _what_happened(evidence, notes)
    newest = _newest_checkpoint(run)
    lines.append(f"The last whole checkpoint: {newest or 'none'}.")
    lines.append(f"{'Go on' if newest else 'Start again'} with: {again}")
    return lines


def _what_happened(evidence: Evidence, notes: Notes) -> list[str]:
    found = evidence.notes
    first_failed = _failed_first(evidence)
    killed = _killed_first(evidence)
    timed_out = [note for note in found.values() if _TIMEOUT.search(note.error or "")]
    # After a timeout, DeepSpeed's launcher kills the rank that hangs.
    if timed_out and (killed is None or killed is not evidence.deaths[0]):
        return [*_hung(evidence, timed_out), *_last_calls(notes)]
    if killed is not None and (first_failed is None or _is_consequence(first_failed)):
        return _killed(evidence, notes, killed.rank, killed.signal, killed.pid)
    silent = [rank for rank in range(evidence.ranks) if rank not in found or not found[rank].ended]
    if first_failed is not None and not _is_consequence(first_failed):
        return [_failed(evidence, first_failed)]
    if silent:
        number = _signal_of(evidence.launcher_code)
        # Of several that are silent, the one that was seen to end first, or that is so for longest.
        order = [death.rank for death in evidence.deaths]
        rank = min(
            silent,
            key=lambda rank: (
                order.index(rank) if rank in order else len(order),
                found[rank].time if rank in found else 0.0,
            ),
        )
        dead = next((death for death in evidence.deaths if death.rank == rank), None)
        pid = found[rank].pid if rank in found else dead.pid if dead else -1
        if number is not None:
            return _killed(evidence, notes, rank, number, pid)
        code = dead.code if dead and dead.code > 0 else evidence.launcher_code
        return [
            f"{_who(evidence, rank)} ended without saying how{_at(found.get(rank))} (exit code "
            f"{code}): look for its last words above."
        ]
    if first_failed is not None:
        return [_failed(evidence, first_failed)]
    codes = {note.rank: note.code for note in found.values()}
    return [f"The ranks ended with different exit codes: {codes}."]


def _killed_first(evidence: Evidence) -> Death | None:
    """The first rank that a signal ended; SIGTERM is what the launcher sends to all others."""
    for death in evidence.deaths:
        if death.signal > 0 and (death.signal != signal.SIGTERM or death is evidence.deaths[0]):
            return death
    return None


def _failed_first(evidence: Evidence) -> Note | None:
    """The rank that noted an error of its own first, or else the first that noted one at all."""
    failed = [note for note in evidence.notes.values() if note.ended and note.error]
    failed.sort(key=lambda note: (_is_consequence(note), note.time))
    return failed[0] if failed else None


def is_consequence(error: str) -> bool:
    """Whether a rank says this because another one is gone."""
    return bool(_CONSEQUENCE.search(error))


def _is_consequence(note: Note) -> bool:
    return is_consequence(note.error or "")


def _killed(evidence: Evidence, notes: Notes, rank: int, number: int, pid: int) -> list[str]:
    note = evidence.notes.get(rank)
    host = note.host if note else evidence.hosts[rank]
    reason = why(number, host=host, pid=pid, killed_before=evidence.killed_before)
    head = f"{_who(evidence, rank)} was killed by signal {name_of(number)}{_at(note)}."
    return [f"{head} {reason}".rstrip(), *_crashed_thread(notes.stacks(rank))]


def _crashed_thread(stacks: Sequence[str]) -> list[str]:
    """Of all threads that faulthandler has written, the one that crashed."""
    begin = next((i for i, line in enumerate(stacks) if line.startswith("Current thread")), 0)
    return [*takewhile(str.strip, stacks[begin : begin + _MOST_STACK])]


def _failed(evidence: Evidence, note: Note) -> str:
    return f"{_who(evidence, note.rank)} failed{_at(note)}: {_said(note)}"


def _hung(evidence: Evidence, timed_out: Sequence[Note]) -> list[str]:
    waiting = {note.rank for note in timed_out}
    others = [note for note in evidence.notes.values() if note.rank not in waiting]
    oldest = min(others or timed_out, key=lambda note: (note.step, note.time))
    lines = [
        f"{len(waiting)} rank(s) waited longer than engine.timeout_minutes for another.",
        _failed(evidence, timed_out[0]),
    ]
    missing = [rank for rank in range(evidence.ranks) if rank not in evidence.notes]
    if missing:
        return [*lines, f"{_who(evidence, missing[0])} never began: the others waited for it."]
    return [*lines, f"They waited for {_who(evidence, oldest.rank)}, it seems{_at(oldest)}."]


def _last_calls(notes: Notes) -> list[str]:
    files = notes.calls()
    return [f"The last calls to other ranks: {', '.join(map(str, files))}."] if files else []


def _who(evidence: Evidence, rank: int) -> str:
    note = evidence.notes.get(rank)
    if note is None:
        return f"Rank {rank} on {evidence.hosts[rank]}"
    return f"Rank {rank} on {note.host} (process {note.pid})"


def _at(note: Note | None) -> str:
    if note is None:
        return " before it had begun"
    return f" at step {note.step}" if note.ended else f" at step {note.step}, while {note.phase}"


def _said(note: Note) -> str:
    lines = (note.error or "").strip().splitlines()
    return lines[0] if lines else f"exit code {note.code}"


def _signal_of(code: int) -> int | None:
    """The signal in an exit code: -9 as such, 247 (DeepSpeed's -9) or 137 (128 + 9)."""
    if code < 0:
        return -code
    if 128 < code <= 192:
        return code - 128
    return 256 - code if 192 < code < 256 else None


def _newest_checkpoint(run: Path) -> Path | None:
    """By its name, which only whole ones have."""
    found = [
        (int(path.name.removeprefix("global_step")), path)
        for path in (run / "checkpoints").glob("global_step*")
        if path.name.removeprefix("global_step").isdigit()
    ]
    return max(found)[1] if found else None
