"""Why a rank was killed: the usual cause of the signal, and evidence from the host's kernel."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

from ptm.launch.hosts import local_host_names
from ptm.launch.shell import run_on_host

_V2 = Path("/sys/fs/cgroup")
_V1 = Path("/sys/fs/cgroup/memory")
_SHM = Path("/dev/shm")
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)


def processes_killed_for_memory() -> int | None:
    """Number of processes killed so far because memory ran out; None if the kernel has no count.

    Read from the cgroup's memory.events (v2) or memory.oom_control (v1), which count kills within
    the cgroup only, or else from /proc/vmstat, which counts kills on the whole machine.
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
    """Path of this process's cgroup, relative to the mount point of `controller`."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ""
    found = (line.split(":", 2) for line in lines)
    return next((path.lstrip("/") for _, names, path in found if names == controller), "")


def signal_name(number: int) -> str:
    """Number and name of a signal, as in `9 (SIGKILL)`."""
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)


def why(number: int, *, host: str, pid: int, killed_before: int | None) -> str:
    """The usual cause of a signal, with evidence from `host`; empty if there is no usual cause.

    `killed_before` is `processes_killed_for_memory()` at the start of the launch.
    """
    if number == signal.SIGKILL:
        return _out_of_memory(host, pid, killed_before)
    if number == signal.SIGBUS:
        return f"The usual cause is that shared memory ran out: {_shared_memory(host)}."
    if number in _CRASHES:
        return "The program crashed inside compiled code."
    if number == signal.SIGTERM:
        return "It was terminated before it could save."
    return ""


def _out_of_memory(host: str, pid: int, before: int | None) -> str:
    text = "The usual cause is that the host or its container ran out of memory"
    here = host in local_host_names()
    after = processes_killed_for_memory() if here else None
    if before is not None and after is not None:
        if after > before:
            text = (
                f"The host or its container ran out of memory: since the launch, the kernel's "
                f"count of processes killed for lack of memory (oom_kill) rose by {after - before}"
            )
        else:
            text += (
                ", but the kernel has killed no process for lack of memory since the launch "
                "(oom_kill): the signal came from a user or another program"
            )
    line = _kernel_log_line(host, pid, here=here)
    return f"{text}. Kernel log: {line}" if line else f"{text}."


def _kernel_log_line(host: str, pid: int, *, here: bool) -> str:
    """The line of the kernel log about the killed process; empty if absent or not readable."""
    wanted = f"Killed process {pid} "
    if not here:
        return run_on_host(host, f"dmesg 2>/dev/null | grep '{wanted}' | tail -n 1").out.strip()
    try:
        done = subprocess.run(
            ["dmesg"], capture_output=True, text=True, errors="replace", timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next((line for line in reversed(done.stdout.splitlines()) if wanted in line), "")


def _shared_memory(host: str) -> str:
    if host not in local_host_names():
        return f"check `df /dev/shm` on {host}"
    try:
        usage = shutil.disk_usage(_SHM)
    except OSError:
        return f"{_SHM} does not exist"
    return (
        f"{usage.used / 1e6:,.0f} of {usage.total / 1e6:,.0f} MB of {_SHM} are in use "
        "(to enlarge it in Docker: --shm-size)"
    )
