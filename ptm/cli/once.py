"""What went wrong, said by one of the ranks that it went wrong on."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 2.0
"""For which others that come to the same keep silent."""


def say(sentence: str, *, on_all: bool) -> None:
    """Tell the user; `on_all`: every rank of the launch calls this, and the first says it.

    Otherwise the first rank of a host that comes to it says it, as perhaps no other does.
    """
    rank = os.environ.get("RANK")
    if rank is None or on_all:
        if rank in (None, "0"):
            print(sentence, file=sys.stderr, flush=True)
        return
    with _alone_with(sentence) as alone:
        if alone:
            print(sentence, file=sys.stderr, flush=True)
            time.sleep(SECONDS)


@contextmanager
def _alone_with(sentence: str) -> Iterator[bool]:
    """Whether no other rank of this launch on this host is within with the same sentence."""
    launch = [os.environ.get(name, "") for name in ("PTM_LAUNCH", "MASTER_ADDR", "MASTER_PORT")]
    words = "\n".join([*launch, str(os.getuid()), sentence])
    name = f"ptm-said-{hashlib.blake2b(words.encode(), digest_size=16).hexdigest()}"
    path = Path(tempfile.gettempdir()) / name
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
        path.unlink(missing_ok=True)
