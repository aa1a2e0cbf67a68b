"""What has the ranks save and end when `ptm launch` itself is killed.

A shell on rank 0's host reads from a pipe that `ptm launch` holds. A word on it is a good end; the
pipe's own end, which the kernel (and ssh) brings about whatever kills the other side, is none: the
shell then asks the ranks to stop, as `ptm launch` would have, until nothing of the launch is left.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ptm.errors import EXIT_STOPPED
from ptm.launch.processes import any_of
from ptm.launch.shell import command_on

_SCRIPT = """\
read -r word && exit 0
while [ -n "$({any_left})" ]; do
  printf {code} 2>/dev/null >{aside} && mv {aside} {file}
  sleep 1
done"""
_SECONDS = 5.0
"""In which a shell that was told of a good end ends."""


class Tether:
    """Begun with the launch; those who let go of it in time have nothing to fear from it."""

    def __init__(self, launch: str, stop_file: Path, hosts: Sequence[str]) -> None:
        """`hosts`: rank 0's first; none for this machine alone."""
        script = _SCRIPT.format(
            any_left=any_of(launch),
            code=EXIT_STOPPED,
            aside=shlex.quote(f"{stop_file}.{launch}"),
            file=shlex.quote(str(stop_file)),
        )
        self._shell = subprocess.Popen(
            command_on(hosts[0] if hosts else None, script),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # It outlives what is killed with the terminal.
            start_new_session=True,
        )

    def let_go(self) -> None:
        """The launch ends as it should."""
        with suppress(OSError, subprocess.TimeoutExpired):
            self._shell.communicate(b"over\n", timeout=_SECONDS)
        self._shell.kill()
        self._shell.wait()
