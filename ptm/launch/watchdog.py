"""A watchdog that has the ranks save and exit if `ptm launch` itself is killed.

A shell on rank 0's host reads from a pipe that `ptm launch` holds open. A line on the pipe means a
normal exit. If the pipe is closed without a line, as the kernel (and ssh) do when `ptm launch` is
killed, the shell writes the stop file, as `ptm launch` would, until no process of the launch is
left.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ptm.errors import EXIT_STOPPED
from ptm.launch.processes import list_processes_script
from ptm.launch.shell import shell_command

_SCRIPT = """\
read -r word && exit 0
while [ -n "$({any_left})" ]; do
  printf {code} 2>/dev/null >{aside} && mv {aside} {file}
  sleep 1
done"""
_SECONDS = 5.0
"""How long the shell may take to exit after a normal end."""


class Watchdog:
    """Stops the ranks if `ptm launch` dies; call `disarm` on a normal exit."""

    def __init__(self, launch: str, stop_file: Path, hosts: Sequence[str]) -> None:
        """`hosts`: the hosts of the launch, that of rank 0 first; empty for this machine alone."""
        script = _SCRIPT.format(
            any_left=list_processes_script(launch),
            code=EXIT_STOPPED,
            aside=shlex.quote(f"{stop_file}.{launch}"),
            file=shlex.quote(str(stop_file)),
        )
        self._shell = subprocess.Popen(
            shell_command(hosts[0] if hosts else None, script),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # A separate session, so that it survives the end of the terminal.
            start_new_session=True,
        )

    def disarm(self) -> None:
        """Disarm the watchdog: the launch has ended normally."""
        with suppress(OSError, subprocess.TimeoutExpired):
            self._shell.communicate(b"over\n", timeout=_SECONDS)
        self._shell.kill()
        self._shell.wait()
