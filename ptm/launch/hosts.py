"""Which hosts, and which slots of each, a launch uses: hostfiles, --include and --exclude."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from ptm.errors import UserError, nearest

Slots = dict[str, list[int]]
"""The slots to use on each host, hosts in the order of their ranks."""

_LINE = re.compile(r"(\S+)\s+slots=(\S+)(\s.*)?")
_LOCAL = ("localhost", "127.0.0.1", "::1")


def read_hostfile(path: Path) -> Slots:
    """All slots of a hostfile. Raises UserError with the file and the line for what is wrong.

    DeepSpeed trains on this machine alone where the file is not there, and ends with a traceback
    where it is wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UserError(f"--hostfile {path}: cannot be read: {reason}.") from error
    found: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        at = f"{path}, line {number}"
        match = _LINE.fullmatch(text)
        if match is None:
            raise UserError(f'{at}: "{text}" is not a host and its slots, as in "node-1 slots=8".')
        host, slots = match[1], match[2]
        if not (slots.isascii() and slots.isdigit() and int(slots) > 0):
            raise UserError(f'{at}: slots={slots} is not a number of ranks, as in "slots=8".')
        if host.startswith("-"):
            raise UserError(f'{at}: "{host}" cannot be the name of a host.')
        if host in found:
            raise UserError(
                f"{at}: {host} is there twice (line {found[host][0]}): write it once, with all "
                "its slots."
            )
        found[host] = (number, int(slots))
    if not found:
        raise UserError(f'{path}: names no host: write lines such as "node-1 slots=8".')
    return {host: list(range(slots)) for host, (_, slots) in found.items()}


def chosen(hosts: Mapping[str, list[int]], include: str, exclude: str, each: int | None) -> Slots:
    """What is left of `hosts`; `each`: at most so many slots of every host.

    `include` and `exclude` are DeepSpeed's: `node-1@node-2:0,2`. Raises UserError.
    """
    if include and exclude:
        raise UserError("--include and --exclude: give one of them.")
    if each is not None and (include or exclude):
        raise UserError("--num-gpus does not go with --include or --exclude: give one of them.")
    left: Slots = {host: list(slots) for host, slots in hosts.items()}
    if each is not None:
        if each < 1:
            raise UserError(f"--num-gpus {each}: must be at least 1.")
        for host, slots in left.items():
            if each > len(slots):
                raise UserError(f"--num-gpus {each}: {host} has {len(slots)} slots only.")
        return {host: slots[:each] for host, slots in left.items()}
    if include:
        named = dict(_parts("--include", include, hosts))
        left = {host: named[host] for host in hosts if host in named}
    for host, slots in _parts("--exclude", exclude, hosts) if exclude else ():
        left[host] = [slot for slot in left[host] if slot not in slots]
    left = {host: slots for host, slots in left.items() if slots}
    if not left:
        raise UserError(f"--exclude {exclude}: leaves no slot to start a rank on.")
    return left


def _parts(
    option: str, text: str, hosts: Mapping[str, list[int]]
) -> Iterator[tuple[str, list[int]]]:
    for part in text.split("@"):
        host, colon, words = part.partition(":")
        if host not in hosts:
            raise UserError(f'{option} {text}: there is no host "{host}".{nearest(host, hosts)}')
        slots = [int(word) if word.isdigit() else -1 for word in words.split(",")]
        wrong = [word for word, slot in zip(words.split(","), slots, strict=True) if slot < 0]
        if colon and (wrong or not set(slots) <= set(hosts[host])):
            there = ", ".join(map(str, hosts[host]))
            raise UserError(f"{option} {text}: {host} has the slots {there}, not {words}.")
        yield host, sorted(set(slots)) if colon else list(hosts[host])


def is_this_machine(host: str) -> bool:
    """Whether a hostfile's name is plainly that of the machine this runs on."""
    return host in (*_LOCAL, *names_here())


def names_here() -> tuple[str, str]:
    """This machine's name, in full and without its domain."""
    name = socket.gethostname()
    return name, name.partition(".")[0]
