"""The hosts of a launch and their slots: hostfile, --include, --exclude and --num-gpus."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from ptm.errors import UserError, nearest
from ptm.files.user_files import read_lines
from ptm.limits import MOST_HOSTFILE_BYTES, MOST_RANKS, MOST_SLOTS

Slots = dict[str, list[int]]
"""Host -> indexes of the slots to use, with hosts in rank order."""

_LINE = re.compile(r"(\S+)\s+slots=(\S+)(\s.*)?")
_INDEX = re.compile(r"[0-9]{1,6}")
_SLOTS = re.compile(r"0*[1-9][0-9]{0,5}")
_HOST = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9_][A-Za-z0-9._-]*")
_LOCAL = ("localhost", "127.0.0.1", "::1")


def read_hostfile(path: Path) -> Slots:
    """All hosts and slots of a hostfile.

    Raises UserError, with file and line, if the hostfile is missing or invalid. DeepSpeed would
    train on this machine alone without the file, and end with a traceback for an invalid one.
    """
    lines = read_lines(path, most=MOST_HOSTFILE_BYTES, name=f"--hostfile {path}")
    found: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        at = f"{path}:{number}"
        match = _LINE.fullmatch(text)
        if match is None:
            raise UserError(f'{at}: "{text}" is not of the form "node-1 slots=8".')
        host, slots = match[1], match[2]
        if not _SLOTS.fullmatch(slots) or int(slots) > MOST_SLOTS:
            raise UserError(
                f'{at}: slots={slots} is not a positive number of ranks, as in "slots=8", or is '
                f"more than {MOST_SLOTS}."
            )
        if not is_host_name(host):
            raise UserError(
                f'{at}: "{host}" is not a valid host name: a-z, A-Z, 0-9 and ".", "-", "_", or '
                "an IP address; user@host is possible."
            )
        if host in found:
            raise UserError(
                f"{at}: {host} is listed twice (first in line {found[host][0]}). List it once, "
                "with all its slots."
            )
        found[host] = (number, int(slots))
    if not found:
        raise UserError(f'{path}: the file lists no host. Add lines such as "node-1 slots=8".')
    if sum(slots for _, slots in found.values()) > MOST_RANKS:
        raise UserError(f"{path}: the hosts have more than {MOST_RANKS:,} slots together.")
    return {host: list(range(slots)) for host, (_, slots) in found.items()}


def is_host_name(text: str) -> bool:
    """Whether `text` is a host name or an address, so that ssh, pdsh and shells take it as one.

    To ssh, a name that starts with "-" is an option; to pdsh, brackets and commas list hosts, "^"
    names a file, and ":" a program to call; to a shell, ";" ends a command.
    """
    if _HOST.fullmatch(text):
        return True
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


def chosen(hosts: Mapping[str, list[int]], include: str, exclude: str, each: int | None) -> Slots:
    """Select slots of `hosts`: `include`, or all but `exclude`, or the first `each` per host.

    `include` and `exclude` have DeepSpeed's format: `node-1@node-2:0,2` is all slots of node-1 and
    two of node-2. Raises UserError if more than one of the three is given, if they name absent
    hosts or slots, or if no slot is left.
    """
    if include and exclude:
        raise UserError("--include and --exclude cannot be combined. Use only one of them.")
    if each is not None and (include or exclude):
        raise UserError(
            "--num-gpus cannot be combined with --include or --exclude. Use only one of them."
        )
    left: Slots = {host: list(slots) for host, slots in hosts.items()}
    if each is not None:
        if each < 1:
            raise UserError(f"--num-gpus {each}: must be at least 1.")
        for host, slots in left.items():
            if each > len(slots):
                raise UserError(
                    f"--num-gpus {each} exceeds the number of slots of {host}, {len(slots)}."
                )
        return {host: slots[:each] for host, slots in left.items()}
    if include:
        named = dict(_parts("--include", include, hosts))
        left = {host: named[host] for host in hosts if host in named}
    for host, slots in _parts("--exclude", exclude, hosts) if exclude else ():
        left[host] = [slot for slot in left[host] if slot not in slots]
    left = {host: slots for host, slots in left.items() if slots}
    if not left:
        raise UserError(f"--exclude {exclude} leaves no slot to start a rank on.")
    return left


def _parts(
    option: str, text: str, hosts: Mapping[str, list[int]]
) -> Iterator[tuple[str, list[int]]]:
    """Yield each host of an --include or --exclude value with its slots (all if none is listed)."""
    for part in text.split("@"):
        host, colon, words = part.partition(":")
        if host not in hosts:
            raise UserError(f'{option} {text}: unknown host "{host}".{nearest(host, hosts)}')
        slots = [int(word) if _INDEX.fullmatch(word) else -1 for word in words.split(",")]
        wrong = [word for word, slot in zip(words.split(","), slots, strict=True) if slot < 0]
        if colon and (wrong or not set(slots) <= set(hosts[host])):
            there = ", ".join(map(str, hosts[host]))
            raise UserError(f"{option} {text}: {host} has the slots {there}, not {words}.")
        yield host, sorted(set(slots)) if colon else list(hosts[host])


def is_local_host(host: str) -> bool:
    """Whether `host` is this machine, by its host name or a loopback address."""
    return host in (*_LOCAL, *local_host_names())


def local_host_names() -> tuple[str, str]:
    """This machine's host name, in full and without its domain."""
    name = socket.gethostname()
    return name, name.partition(".")[0]
