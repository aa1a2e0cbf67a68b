"""Names of the folders and network namespaces of the test hosts, and their removal."""

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
    """The folder of keys, configurations and logs of the hosts that process `pid` made."""
    # A short path, as those of sockets in it are limited to 107 characters.
    return Path(tempfile.gettempdir()) / f"ptm-hosts-{pid}"


def namespaces_of(pid: int) -> tuple[str, str]:
    """The names of the network namespaces of the two hosts that process `pid` made."""
    return f"ptm{pid}a", f"ptm{pid}b"


def sweep() -> None:
    """Remove hosts of processes that were killed before they removed them."""
    found = [_FOLDER.match(path.name) for path in Path(tempfile.gettempdir()).glob("ptm-hosts-*")]
    found += [_NAMESPACE.match(name) for name in _all_namespaces()]
    for pid in {int(match[1]) for match in found if match}:
        if not psutil.pid_exists(pid):
            remove(pid)


def remove(pid: int) -> None:
    """Kill all processes on the hosts that process `pid` made, and remove the hosts."""
    for namespace in namespaces_of(pid):
        if namespace in _all_namespaces():
            for process in processes(namespace):
                kill(process)
            output("ip", "netns", "delete", namespace)
        shutil.rmtree(Path("/etc/netns") / namespace, ignore_errors=True)
    shutil.rmtree(folder_of(pid), ignore_errors=True)


def processes(namespace: str) -> list[int]:
    """Process ids of a network namespace."""
    return [int(word) for word in output("ip", "netns", "pids", namespace).split()]


def kill(pid: int) -> None:
    """Kill a process that may have ended already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def search_path() -> str:
    """PATH with the folder of this Python first, and with root's folders (sbin)."""
    venv = Path(sys.executable).parent
    return f"{venv}:{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin"


def output(*command: str) -> str:
    """Standard output of a short command. Raises RuntimeError if the command fails."""
    environment = {**os.environ, "PATH": search_path()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _all_namespaces() -> list[str]:
    return [line.split()[0] for line in output("ip", "netns", "list").splitlines() if line.strip()]
