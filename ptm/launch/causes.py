"""Why a rank was killed, in words, with what the machine itself says of it."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

from ptm.launch.hosts import names_here
from ptm.launch.shell import on_host

_V2 = Path("/sys/fs/cgroup")
_V1 = Path("/sys/fs/cgroup/memory")
_SHM = Path("/dev/shm")
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)


def processes_killed_for_memory() -> int | None:
    """How many this machine, or this container, has killed so far; None where it does not tell.

    From the cgroup's memory.events (v2) or memory.oom_control (v1), which count those of the
    cgroup alone, or else from /proc/vmstat, which counts those of the machine.
    """
    files = [_V2 / _cgroup("") / "memory.events", _V2 / "memory.events"]
    files += [_V1 / _cgroup("memory") / "memory.oom_control", _V1 / "memory.oom_control"]
    for path in (*files, Path("/proc/vmstat")):
        try:
            lines = [line.split() for line in path.read_text().splitlines()]
        except OSError:
            continue
        for line in lines:
            if len(line) == 2 and line[0] == "oom_kill":
                return int(line[1])
    return None


def _cgroup(controller: str) -> str:
    """This process's cgroup below where that controller is mounted."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ""
    found = (line.split(":", 2) for line in lines)
    return next((path.lstrip("/") for _, names, path in found if names == controller), "")


def name_of(number: int) -> str:
    """`9 (SIGKILL)`."""
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)


def why(number: int, *, host: str, pid: int, killed_before: int | None) -> str:
    """What a signal usually means, and what is known of this time; empty for no more to say."""
    if number == signal.SIGKILL:
        return _out_of_memory(host, pid, killed_before)
    if number == signal.SIGBUS:
        return f"Usually shared memory ran out: {_shared_memory(host)}."
    if number in _CRASHES:
        return "The program crashed inside compiled code."
    if number == signal.SIGTERM:
        return "It was told to end before it could save."
    return ""


def _out_of_memory(host: str, pid: int, before: int | None) -> str:
    text = "Usually the memory of the host or of its container ran out"
    here = host in names_here()
    after = processes_killed_for_memory() if here else None
    if before is not None and after is not None:
        if after > before:
            text = (
                f"The memory of the host or of its container ran out: the kernel has killed "
                f"{after - before} process(es) for it since the launch (oom_kill)"
            )
        else:
            text += ", but here the kernel has killed nothing for it (oom_kill): somebody did"
    line = _kernel_said(host, pid, here=here)
    return f"{text}. The kernel's log: {line}" if line else f"{text}."


def _kernel_said(host: str, pid: int, *, here: bool) -> str:
    """The line in the kernel's log, where it may be read."""
    wanted = f"Killed process {pid} "
    if not here:
        return on_host(host, f"dmesg 2>/dev/null | grep '{wanted}' | tail -n 1").out.strip()
    try:
        done = subprocess.run(
            ["dmesg"], capture_output=True, text=True, errors="replace", timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next((line for line in reversed(done.stdout.splitlines()) if wanted in line), "")


def _shared_memory(host: str) -> str:
    if host not in names_here():
        return f"look at `df /dev/shm` on {host}"
    try:
        usage = shutil.disk_usage(_SHM)
    except OSError:
        return f"there is no {_SHM}"
    return (
        f"{_SHM} holds {usage.total / 1e6:,.0f} MB, {usage.used / 1e6:,.0f} MB of it are used "
        "(docker: --shm-size)"
    )
