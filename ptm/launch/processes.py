"""The processes of a launch on this and other hosts, identified by the PTM_LAUNCH they inherit.

Command lines, by which DeepSpeed's `pkill -f` identifies them, may be those of other trainings too.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from ptm.launch.environment import LAUNCH
from ptm.launch.shell import run_on_hosts

_RANK_NAMES = ("RANK", "OMPI_COMM_WORLD_RANK")
_PROGRAMS = ("launch/train.py", "ptm")
_EXIT_CODE = 49
"""Index of the exit status among the fields of /proc/<pid>/stat after the program's name."""
_EACH = """\
for e in /proc/[0-9]*/environ; do
  if grep -qsz '^{name}={launch}$' "$e"; then p=${{e#/proc/}}; {what}; fi
done 2>/dev/null
exit 0"""


@dataclass(frozen=True)
class RankExit:
    """How a rank on this host ended; `signal` and `code` are -1 if unknown."""

    rank: int
    pid: int
    signal: int
    code: int


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    command: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def rank(self) -> int | None:
        """The rank that this process is or descends from, if any."""
        found = (self.environment[name] for name in _RANK_NAMES if name in self.environment)
        return next((int(word) for word in found if word.isdigit()), None)

    @property
    def is_program(self) -> bool:
        """Whether it runs `ptm` itself, and is not a launcher of ranks."""
        # The command line of DeepSpeed's launch.py holds the script too, but with --world_info.
        words = self.command
        return any(word.endswith(_PROGRAMS) for word in words[1:4]) and "--world_info" not in words


def local_processes(launch: str) -> list[_Process]:
    """All processes of a launch on this host."""
    found = []
    for process in psutil.process_iter():
        # psutil raises for processes of other users and for those that have just ended.
        with suppress(psutil.Error):
            environment = process.environ()
            if environment.get(LAUNCH) == launch:
                command = tuple(process.cmdline())
                found.append(_Process(process.pid, process.ppid(), command, environment))
    return found


def local_ranks(launch: str) -> dict[int, int]:
    """Rank -> process id of the ranks that run on this host, without their child processes."""
    found: dict[int, int] = {}
    ours = {process.pid: process for process in local_processes(launch)}
    for process in ours.values():
        rank = process.rank
        if rank is None or not process.is_program:
            continue
        parent = ours.get(process.parent)
        if parent is None or parent.rank is None:
            found.setdefault(rank, process.pid)
    return found


def kill_local(launch: str, number: int) -> None:
    """Send a signal to all processes of a launch on this host."""
    for process in local_processes(launch):
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def kill_all(launch: str, number: int, hosts: Iterable[str]) -> None:
    """Send a signal to all processes of a launch on this host and on `hosts`."""
    kill_local(launch, number)
    what = f'kill -{number} "${{p%/environ}}"'
    run_on_hosts(hosts, _EACH.format(name=LAUNCH, launch=launch, what=what))
    if number == signal.SIGKILL:
        # A launcher may have started more processes since the first call.
        kill_local(launch, number)


def list_processes_script(launch: str) -> str:
    """An sh script that prints the process ids of a launch on the host that runs it."""
    return _EACH.format(name=LAUNCH, launch=launch, what='echo "$p"')


def hosts_with_processes(launch: str, hosts: Iterable[str]) -> list[str]:
    """Those of `hosts` that run processes of a launch; a host that ssh cannot reach is left out."""
    results = run_on_hosts(hosts, list_processes_script(launch))
    return [host for host, one in results.items() if one.code == 0 and one.out.strip()]


class RankWatch:
    """Watches the ranks on this host; `exits` records how each ended, in order."""

    _SECONDS = 1.0

    def __init__(self, launch: str, expected: int) -> None:
        self._launch = launch
        self._expected = expected
        self._open: dict[int, tuple[int, int]] = {}
        """pidfd of a running rank -> rank and process id."""
        self._seen: set[int] = set()
        self._next = 0.0
        self.exits: list[RankExit] = []

    def wait(self, seconds: float) -> None:
        """Look for new ranks, then wait up to `seconds` for one of the known ranks to end."""
        now = time.monotonic()
        if len(self._seen) < self._expected and now >= self._next:
            self._next = now + self._SECONDS
            self._find()
        poll = select.poll()
        for descriptor in self._open:
            poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll(seconds * 1000):
            rank, pid = self._open.pop(descriptor)
            os.close(descriptor)
            self.exits.append(_rank_exit(rank, pid))

    def close(self) -> None:
        """Stop watching; close all file descriptors."""
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()

    def _find(self) -> None:
        for rank, pid in local_ranks(self._launch).items():
            if rank in self._seen:
                continue
            try:
                descriptor = os.pidfd_open(pid)
            except OSError:
                continue
            self._seen.add(rank)
            self._open[descriptor] = (rank, pid)


def _rank_exit(rank: int, pid: int) -> RankExit:
    """How the process of a rank ended, from /proc.

    Works only until the launcher, which polls once a second, reaps the process. psutil reports exit
    codes of one's own children only, and ranks are children of the launcher.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        stat = []
    if len(stat) <= _EXIT_CODE or stat[0] not in "ZX":
        return RankExit(rank, pid, -1, -1)
    status = int(stat[_EXIT_CODE])
    return RankExit(rank, pid, status & 0x7F, status >> 8)
