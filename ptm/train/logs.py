"""Where log lines go: the console in short, train.log with time and place, and DeepSpeed's too."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROJECT, _DEEPSPEED = logging.getLogger("ptm"), logging.getLogger("DeepSpeed")


@contextmanager
def log_to(path: Path, *, active: bool) -> Iterator[None]:
    """Append what is logged to `path`, on the rank that writes; DeepSpeed's goes there alone."""
    if not active:
        # What goes wrong on one rank is raised on all, and said by the first.
        _PROJECT.setLevel(logging.CRITICAL)
        yield
        return
    _PROJECT.setLevel(logging.INFO)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for logger in (_PROJECT, _DEEPSPEED):
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in (_PROJECT, _DEEPSPEED):
            logger.removeHandler(handler)
        handler.close()
