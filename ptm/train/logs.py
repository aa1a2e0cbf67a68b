"""Where log lines go: the console in short, train.log with time and place."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROJECT = logging.getLogger("ptm")


@contextmanager
def log_to(path: Path, *, active: bool) -> Iterator[None]:
    """Append what the project logs to `path` as well, on the rank that writes."""
    if not active:
        # What goes wrong on one rank is raised on all, and said by the first.
        _PROJECT.setLevel(logging.CRITICAL)
        yield
        return
    _PROJECT.setLevel(logging.INFO)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    _PROJECT.addHandler(handler)
    try:
        yield
    finally:
        _PROJECT.removeHandler(handler)
        handler.close()
