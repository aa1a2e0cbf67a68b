"""The shard files of a store, opened for reading and checked for changes.

A shard stays open once it was read, so that a store that is replaced meanwhile remains readable,
and so that a file that was cut short or written to is noticed before it is read. Reading a memory
map past the end of its file would end the process with SIGBUS.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptm.errors import UserError
from ptm.files.reading import FileContentError, open_regular, reason_of
from ptm.store.sections import ShardInfo

_CHUNK = 1 << 22
_OTHER_FILES = 512
"""Open files of a training besides its shards."""
_FEWEST_OTHER_FILES = 64
"""Files that a process needs at least besides its shards and those that are open already."""
_OPEN_FILES = Path("/dev/fd")


def allow_open_files(store: Path, shards: int) -> None:
    """Raise this process's limit of open files as far as the shards of one more store need it.

    Raises UserError if the hard limit is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A shard's memory map has a file descriptor of its own.
    needed = 2 * shards + sum(1 for _ in _OPEN_FILES.iterdir())
    if hard != resource.RLIM_INFINITY and needed + _FEWEST_OTHER_FILES > hard:
        raise _too_many_files(store, shards)
    if soft != resource.RLIM_INFINITY and soft < needed + _OTHER_FILES:
        wanted = needed + _OTHER_FILES
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _too_many_files(store: Path, shards: int) -> UserError:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = 2 * shards + sum(1 for _ in _OPEN_FILES.iterdir()) + _OTHER_FILES
    return UserError(
        f"{store}: the {shards:,} shards of the store need two open files each, but the limit of "
        f"open files is {limit:,}. Raise it, e.g. with `ulimit -n {needed}`, or make the store "
        "from fewer and larger files."
    )


class ShardFile:
    """An opened shard, memory-mapped."""

    def __init__(self, path: Path, info: ShardInfo, *, store: Path) -> None:
        """Raises UserError if the file cannot be read, or has another size than `info`."""
        self._path, self._info, self._store = path, info, store
        self._map: mmap.mmap | None = None
        try:
            self._file = open_regular(path)
        except (OSError, FileContentError) as error:
            raise self._unreadable(error) from error
        found = os.fstat(self._file.fileno())
        self._modified = found.st_mtime_ns
        self._check_size(found.st_size)

    def section(self, name: str) -> NDArray[Any]:
        """The array of one section, memory-mapped. Call `check_unchanged` before reading it."""
        section = next(one for one in self._info.sections if one.name == name)
        if self._map is None:
            try:
                self._map = mmap.mmap(
                    self._file.fileno(), self._info.bytes, access=mmap.ACCESS_READ
                )
            except OSError as error:
                raise self._unreadable(error) from error
        return np.frombuffer(self._map, section.dtype, section.count, section.offset)

    def check_unchanged(self) -> None:
        """Raise UserError if the opened file was cut short or its content was changed.

        Costs one system call, unless the time of modification differs.
        """
        found = os.fstat(self._file.fileno())
        self._check_size(found.st_size)
        if found.st_mtime_ns != self._modified:
            self.verify()
            self._modified = found.st_mtime_ns

    def close(self) -> None:
        """Close the file; a shard whose sections were read must stay open."""
        self._file.close()

    def verify(self) -> None:
        """Raise UserError if the checksum of the file differs from the manifest."""
        digest, at = hashlib.blake2b(digest_size=16), 0
        while data := os.pread(self._file.fileno(), _CHUNK, at):
            digest.update(data)
            at += len(data)
        if digest.hexdigest() != self._info.blake2b:
            raise self._damaged("the checksum differs from the manifest")

    def _check_size(self, size: int) -> None:
        if size != self._info.bytes:
            raise self._damaged(f"the shard has {size} bytes (expected: {self._info.bytes} bytes)")

    def _unreadable(self, error: OSError | FileContentError) -> UserError:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            return UserError(
                f"{self._path}: {reason_of(error)} (the limit of this process is {limit:,}). "
                "Raise it with `ulimit -n`."
            )
        return self._damaged(reason_of(error))

    def _damaged(self, what: str) -> UserError:
        return UserError(
            f"{self._path}: {what}. The store is damaged, or was changed while it was in use. "
            f"Remove {self._store} and run `ptm preprocess RECIPE` again."
        )
