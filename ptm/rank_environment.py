"""The variables with which a launcher gives a process its rank: read and checked in one place.

Wrong ones would make ranks wait for others that never come.
"""

from __future__ import annotations

import os
import re
import socket

from ptm.errors import UserError
from ptm.limits import MOST_RANKS

_MEETING = ("MASTER_ADDR", "MASTER_PORT")
_OF_LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_SIZE", *_MEETING)


def launched_ranks() -> int:
    """Number of processes that a launcher started, 1 without a launcher. Raises UserError."""
    return _number("WORLD_SIZE", 1, least=1, most=MOST_RANKS)


def local_rank() -> int:
    """This process's index among those of its host, 0 without a launcher. Raises UserError."""
    return _number("LOCAL_RANK", 0, least=0, most=MOST_RANKS)


def ranks_on_this_host() -> int:
    """Number of ranks on this host, 1 if it is unknown. Raises UserError."""
    names = ("LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE")
    return next((_number(name, 1, least=1, most=MOST_RANKS) for name in names if _set(name)), 1)


def check_rank_environment() -> None:
    """Raise UserError unless RANK, WORLD_SIZE and the meeting point of several ranks fit.

    Empty variables, which torch cannot read, are removed from the environment.
    """
    for name in _OF_LAUNCHERS:
        if os.environ.get(name) == "":
            del os.environ[name]
    ranks = launched_ranks()
    rank = _number("RANK", 0, least=0, most=MOST_RANKS)
    if rank >= ranks:
        raise UserError(
            f"RANK={rank} of WORLD_SIZE={ranks}: ranks count from 0 to {ranks - 1}. Set both as "
            "your launcher should, or use `ptm launch`."
        )
    on_host = ranks_on_this_host()
    if _set("LOCAL_SIZE") and local_rank() >= on_host:
        raise UserError(
            f"LOCAL_RANK={local_rank()} of LOCAL_SIZE={on_host}: local ranks count from 0 to "
            f"{on_host - 1}. Set both as your launcher should, or use `ptm launch`."
        )
    if ranks == 1:
        return
    missing = [name for name in ("RANK", *_MEETING) if not _set(name)]
    if missing:
        raise UserError(
            f"WORLD_SIZE={ranks}, but {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not set. Each rank needs its RANK, and the "
            "address and port of rank 0; `ptm launch` sets them."
        )
    address, port = os.environ["MASTER_ADDR"], _number("MASTER_PORT", 0, least=1, most=65535)
    check_route(address, port, name=f"MASTER_ADDR={address}")


def check_route(address: str, port: int, *, name: str) -> None:
    """Raise UserError if this host cannot resolve `address` or has no route to it.

    Sends nothing. torch would try again until the timeout of the training.
    """
    here = socket.gethostname()
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"{name}: the address of rank 0 cannot be resolved on {here} ({error})."
        ) from error
    problem: OSError | None = None
    for family, kind, protocol, _, place in found:
        try:
            # Connecting a datagram socket only looks up the route.
            with socket.socket(family, kind, protocol) as probe:
                probe.connect(place)
            return
        except OSError as error:
            problem = error
    raise UserError(
        f"{name}: {here} has no route to the address of rank 0 "
        f"({problem.strerror if problem else 'no address'}). For ranks on one host, bring up the "
        "loopback device (`ip link set lo up`)."
    )


def _set(name: str) -> bool:
    return bool(os.environ.get(name))


def _number(name: str, default: int, *, least: int, most: int) -> int:
    text = os.environ.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise UserError(f"{name}={text} is not a number from {least} to {most}.")
    return int(text)
