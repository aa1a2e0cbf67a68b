"""What the hosts of a process are called on this machine, and how all of it is removed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

_FOLDER = re.compile(r"ptm-hosts-(\d+)$")
_NAMESPACE = re.compile(r"ptm(\d+)[ab]$")


def folder_of(pid: int) -> Path:
    """Keys, configurations and logs of the hosts that process `pid` made."""
    # Short, because sockets are made below it, whose paths may have 107 characters.
    return Path(tempfile.gettempdir()) / f"ptm-hosts-{pid}"


def namespaces_of(pid: int) -> tuple[str, str]:
    """The network namespaces of its two hosts."""
    return f"ptm{pid}a", f"ptm{pid}b"


def sweep() -> None:
    """Remove what killed processes have left."""
    found = [_FOLDER.match(path.name) for path in Path(tempfile.gettempdir()).glob("ptm-hosts-*")]
    found += [_NAMESPACE.match(name) for name in _all_namespaces()]
    for pid in {int(match[1]) for match in found if match}:
        if not psutil.pid_exists(pid):
            remove(pid)


def remove(pid: int) -> None:
    """End what runs on the hosts that process `pid` made, and remove all of them."""
    for namespace in namespaces_of(pid):
        if namespace in _all_namespaces():
            for process in processes(namespace):
                kill(process)
            output("ip", "netns", "delete", namespace)
        shutil.rmtree(Path("/etc/netns") / namespace, ignore_errors=True)
    shutil.rmtree(folder_of(pid), ignore_errors=True)


def processes(namespace: str) -> list[int]:
    """All that run in a network namespace."""
    return [int(word) for word in output("ip", "netns", "pids", namespace).split()]


def kill(pid: int) -> None:
    """End a process that may have ended already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def search_path() -> str:
    """PATH with this environment's programs first, and with those that only root has on it."""
    venv = Path(sys.executable).parent
    return f"{venv}:{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin"


def output(*command: str) -> str:
    """What a short command says. Raises RuntimeError where it fails."""
    environment = {**os.environ, "PATH": search_path()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _all_namespaces() -> list[str]:
    return [line.split()[0] for line in output("ip", "netns", "list").splitlines() if line.strip()]
