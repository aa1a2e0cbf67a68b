"""train.log of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ptm.escaping import EscapingFormatter
from ptm.train.line_file import LineFileHandler

_PROJECT, _DEEPSPEED = logging.getLogger("ptm"), logging.getLogger("DeepSpeed")


@contextmanager
def log_to(path: Path, *, active: bool) -> Iterator[None]:
    """Append log messages to `path` if this rank is `active`; DeepSpeed's go only there."""
    if not active:
        # An error on one rank is raised on all ranks and reported by rank 0.
        _PROJECT.setLevel(logging.CRITICAL)
        yield
        return
    _PROJECT.setLevel(logging.INFO)
    handler = LineFileHandler(path)
    handler.setFormatter(EscapingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for logger in (_PROJECT, _DEEPSPEED):
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in (_PROJECT, _DEEPSPEED):
            logger.removeHandler(handler)
        handler.close()
