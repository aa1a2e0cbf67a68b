"""Short shell commands on other hosts, over ssh that never prompts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5")
_NO_ANSWER = 255
"""Exit code of ssh if it cannot reach a host."""
_AT_ONCE = 64


@dataclass(frozen=True)
class CommandResult:
    """Exit code, output and error output of a command on a host."""

    code: int
    out: str
    error: str

    @property
    def reached(self) -> bool:
        """Whether ssh reached the host."""
        return self.code != _NO_ANSWER


def shell_command(host: str | None, script: str) -> list[str]:
    """The command that runs an sh script on `host`, or on this machine if `host` is None."""
    return ["sh", "-c", script] if host is None else [*_SSH, "--", host, script]


def run_on_host(
    host: str,
    script: str,
    *,
    given: str = "",
    seconds: float = 15,
) -> CommandResult:
    """Run an sh script on `host` with `given` as standard input, which `ps` does not show."""
    command = shell_command(host, script)
    try:
        done = subprocess.run(
            command,
            input=given.encode(),
            capture_output=True,
            timeout=seconds,
            # Ctrl-C on the terminal goes to this program only, which ends its child processes.
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return CommandResult(_NO_ANSWER, "", f"no answer within {seconds:g} s")
    except FileNotFoundError:
        return CommandResult(_NO_ANSWER, "", "ssh is not installed on this host")
    return CommandResult(
        done.returncode,
        done.stdout.decode(errors="replace"),
        done.stderr.decode(errors="replace").strip(),
    )


def run_on_hosts(
    hosts: Iterable[str], script: str, *, given: str = "", seconds: float = 15
) -> dict[str, CommandResult]:
    """Run an sh script on all of `hosts` in parallel, as `run_on_host` does; host -> result."""
    names = list(hosts)
    if not names:
        return {}
    with ThreadPoolExecutor(min(len(names), _AT_ONCE)) as pool:
        results = pool.map(
            lambda host: run_on_host(host, script, given=given, seconds=seconds), names
        )
        return dict(zip(names, results, strict=True))
