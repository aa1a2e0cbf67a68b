"""Errors printed once, although every rank that meets them reports them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ptm.cli.console import print_error

SECONDS = 2.0
"""How long other ranks of the host suppress the same message."""


def report_error_once(*lines: str, on_all: bool) -> None:
    """Print the lines of an error on stderr, once per launch (`on_all`) or once per host.

    With `on_all` every rank of the launch calls this, and rank 0 prints. Otherwise perhaps only
    some ranks do, and the first of each host prints.
    """
    rank = os.environ.get("RANK")
    if rank is None or on_all:
        if rank in (None, "0"):
            print_error(*lines)
        return
    with _first_with("\n".join(lines)) as is_first:
        if is_first:
            print_error(*lines)
            time.sleep(SECONDS)


@contextmanager
def _first_with(sentence: str) -> Iterator[bool]:
    """Yield whether no other rank of this launch on this host is printing the same sentence."""
    launch = [os.environ.get(name, "") for name in ("PTM_LAUNCH", "MASTER_ADDR", "MASTER_PORT")]
    key = "\n".join([*launch, str(os.getuid()), sentence])
    name = f"ptm-error-{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"
    path = Path(tempfile.gettempdir()) / name
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
        path.unlink(missing_ok=True)
