"""Bounded reading of files that ptm wrote earlier, or that a user names.

A file is read only if it is a regular file within a size limit, so that a pipe does not block and
a huge file does not fill the memory. `ptm.files.records` reads JSON. This module imports no
pydantic, so that the command line starts quickly.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

MEGABYTE = 1 << 20

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class FileContentError(ValueError):
    """A file that can be opened, but not used; the message is the reason, without the path."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises OSError, or FileContentError for anything else."""
    # Without O_NONBLOCK, opening a pipe waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise FileContentError(f"it is {_KINDS.get(stat.S_IFMT(mode), 'not a regular file')}")
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, *, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Raises OSError if it cannot be read, FileContentError for a pipe, a device or a larger file.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise FileContentError(f"it has {size:,} bytes; the limit is {limit:,}")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise FileContentError(f"it has more than {limit:,} bytes")
    return content


def read_text(path: Path, *, limit: int) -> str:
    """Return the content of a UTF-8 file. Raises OSError or FileContentError."""
    try:
        return read_bytes(path, limit=limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileContentError(f"it is not valid UTF-8 at byte {error.start}") from error


def reason_of(error: OSError | FileContentError) -> str:
    """The reason why a file cannot be used, as the end of a sentence."""
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror}"
    return str(error)
