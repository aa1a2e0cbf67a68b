"""Notices a corpus file that changes while it is read.

Its size, time and version were taken when it was found. They name the content of a store, which
must therefore be what was read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ptm.errors import UserError
from ptm.text.corpus.files import CorpusFile
from ptm.text.corpus.remote import RemoteReadError, describe_remote, is_remote


@contextmanager
def checked_for_changes(file: CorpusFile, opened: BinaryIO) -> Iterator[None]:
    """Raise UserError if `file` has changed since it was found, when the body has read it.

    Also if the body raises UserError: what looks like damage may be a change. `opened` is the open
    file.
    """
    try:
        yield
    except RemoteReadError:
        raise
    except UserError:
        _check(file, opened)
        raise
    _check(file, opened)


def _check(file: CorpusFile, opened: BinaryIO) -> None:
    same = _is_same_remote(file) if is_remote(file.path) else _is_same_local(file, opened)
    if not same:
        raise changed(file)


def changed(file: CorpusFile) -> UserError:
    """The error of a file that is not as it was when it was found."""
    return UserError(
        f"{file.path}: the file changed while it was read. Run the same command again when "
        "nothing writes to the file."
    )


def _is_same_local(file: CorpusFile, opened: BinaryIO) -> bool:
    here = os.fstat(opened.fileno())
    try:
        there = Path(file.path).stat()
    except OSError:
        return False
    # Another file may have taken the place of the open one, with its size and time.
    return os.path.samestat(here, there) and (here.st_size, here.st_mtime_ns) == (
        file.bytes,
        file.modified_ns,
    )


def _is_same_remote(file: CorpusFile) -> bool:
    """Whether a server still gives the size, time and version that it gave at first."""
    known = (file.bytes, file.modified_ns, file.version)
    if not any(known):
        return True
    now = describe_remote(file.path)
    found = (now.bytes, now.modified_ns, now.version)
    return all(was == one for was, one in zip(known, found, strict=True) if was)
