"""Short shell commands on other hosts, over ssh that never asks a question."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5")
_NO_ANSWER = 255
"""What ssh itself exits with where it does not reach a host."""
_AT_ONCE = 64


@dataclass(frozen=True)
class Said:
    """What a command on a host came to."""

    code: int
    out: str
    error: str

    @property
    def reached(self) -> bool:
        """Whether ssh got there."""
        return self.code != _NO_ANSWER


def command_on(host: str | None, script: str) -> list[str]:
    """What runs a script of sh on `host`, or here."""
    return ["sh", "-c", script] if host is None else [*_SSH, host, script]


def on_host(
    host: str,
    script: str,
    *,
    given: str = "",
    seconds: float = 15,
) -> Said:
    """Run a script of sh on `host`, with `given` as its input: nothing of that is seen by `ps`."""
    command = command_on(host, script)
    try:
        done = subprocess.run(
            command,
            input=given.encode(),
            capture_output=True,
            timeout=seconds,
            # Ctrl-C on the terminal is for this program, which ends what it started.
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return Said(_NO_ANSWER, "", f"no answer within {seconds:g} seconds")
    except FileNotFoundError:
        return Said(_NO_ANSWER, "", "ssh is not installed here")
    return Said(
        done.returncode,
        done.stdout.decode(errors="replace"),
        done.stderr.decode(errors="replace").strip(),
    )


def on_hosts(
    hosts: Iterable[str], script: str, *, given: str = "", seconds: float = 15
) -> dict[str, Said]:
    """The same on all of them at once."""
    names = list(hosts)
    if not names:
        return {}
    with ThreadPoolExecutor(min(len(names), _AT_ONCE)) as pool:
        said = pool.map(lambda host: on_host(host, script, given=given, seconds=seconds), names)
        return dict(zip(names, said, strict=True))
