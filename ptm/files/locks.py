"""Opening lock files without changing what is behind them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TextIO

from ptm.errors import UserError


def open_lock(path: Path) -> TextIO:
    """Open a lock file for reading and writing; create it if it is absent. Nothing is truncated.

    Raises UserError if `path` is a symbolic link or not a regular file, and OSError.
    """
    # With O_RDWR, opening a FIFO does not wait.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP and path.is_symlink():
            raise UserError(
                f"{path}: the lock file is a symbolic link, which ptm does not follow. Remove the "
                "link."
            ) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{path}: the lock file is not a regular file. Move or remove it.")
    return os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")
