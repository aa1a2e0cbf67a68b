"""A cache of index arrays on disk: built once, then memory-mapped by every run and rank."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ptm.errors import UserError
from ptm.files.kinds import INDEX
from ptm.files.locks import open_lock
from ptm.files.ownership import check_removable, mark_folder, remove_folder
from ptm.files.reading import MEGABYTE, FileContentError, open_regular, reason_of
from ptm.files.records import read_json
from ptm.files.writing import temporary_name, write_file

Arrays = Mapping[str, NDArray[Any]]

logger = logging.getLogger(__name__)

_CONTENTS = "index.json"
_VERIFIED_BYTES = 1 << 30
"""Indexes up to this size are verified whole, larger ones in part."""
_CHUNK = 1 << 22


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    bytes: int = Field(ge=0)
    blake2b: str


class _Contents(BaseModel):
    """index.json: the files of an index and their checksums."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    files: dict[str, _File]


class _Number(BaseModel):
    """A number that is stored beside the arrays. The key protects it from a changed digit."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    number: int = Field(ge=0)
    blake2b: str


def cached_arrays(store: Path, fingerprint: str, key: str, build: Callable[[], Arrays]) -> Arrays:
    """Return the arrays of `key`, memory-mapped; if they are not on disk, build and write them.

    Stored in `store/index/`, or in the user's cache folder if the store is read-only. Damaged
    arrays are built again. `fingerprint`: that of the store, so that the index of a replaced store
    is never read. Raises UserError if a file of the user is in the way.
    """
    folder = _folder(store) / f"{fingerprint[:16]}-{key}"
    while True:
        if not os.path.lexists(folder):
            _write(folder, build())
        try:
            return _opened(folder)
        except (OSError, FileContentError) as error:
            # Another process may remove the folder (`remove_arrays`) at any moment.
            if os.path.lexists(folder):
                what = "%s: the index is damaged or of an earlier version and is built again: %s"
                logger.warning(what, folder, reason_of(error))
                _remove(folder)


def remove_arrays(store: Path, fingerprint: str, key: str) -> None:
    """Remove the arrays of `key` from disk, if present; arrays that are open stay usable."""
    folder = _folder(store) / f"{fingerprint[:16]}-{key}"
    if folder.is_dir():
        try:
            _remove(folder)
        except (OSError, UserError) as error:
            logger.warning("an index that is not needed any more stays on disk: %s", error)


def stored_number(store: Path, fingerprint: str, key: str) -> int | None:
    """Return the number that `store_number` stored under `key`, or None."""
    path = _folder(store) / f"{fingerprint[:16]}-{key}.number"
    try:
        found = read_json(path, _Number, limit=4096)
    except (OSError, FileContentError):
        # Absent, damaged or of an earlier version: the caller computes it again.
        return None
    return found.number if found.blake2b == _digest_of(path.name, found.number) else None


def store_number(store: Path, fingerprint: str, key: str, number: int) -> None:
    """Store a number under `key` beside the arrays."""
    path = _folder(store) / f"{fingerprint[:16]}-{key}.number"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = _Number(number=number, blake2b=_digest_of(path.name, number))
    write_file(path, content.model_dump_json())


@contextmanager
def build_lock(store: Path, fingerprint: str, key: str) -> Iterator[None]:
    """Hold a lock that processes on this store share, so that only one of them builds `key`."""
    path = _folder(store) / f"{fingerprint[:16]}-{key}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_lock(path) as lock:
        # Without file locks, all processes build the same arrays, which is slow but correct.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _folder(store: Path) -> Path:
    if os.access(store, os.W_OK):
        return store / "index"
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "ptm" / "index"


def _opened(folder: Path) -> Arrays:
    """The arrays in `folder`. Raises FileContentError if they are not those of `index.json`."""
    contents = read_json(folder / _CONTENTS, _Contents, limit=MEGABYTE).files
    left = _VERIFIED_BYTES
    for name in random.sample(sorted(contents), len(contents)):
        with open_regular(folder / f"{name}.npy") as file:
            size = os.fstat(file.fileno()).st_size
            if size != contents[name].bytes:
                raise FileContentError(f"{name}.npy has {size} bytes")
            left -= size
            if left >= 0 and _checksum(file.fileno()) != contents[name].blake2b:
                raise FileContentError(f"the checksum of {name}.npy differs")
    try:
        return {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in sorted(contents)
        }
    except (ValueError, SyntaxError, EOFError) as error:
        raise FileContentError(str(error)) from error


def _checksum(descriptor: int) -> str:
    digest, at = hashlib.blake2b(digest_size=16), 0
    while data := os.pread(descriptor, _CHUNK, at):
        digest.update(data)
        at += len(data)
    return digest.hexdigest()


def _digest_of(name: str, number: int) -> str:
    return hashlib.blake2b(f"{name} {number}".encode(), digest_size=16).hexdigest()


def _remove(folder: Path) -> None:
    """Remove an index: renamed first, so that no process reads one that is half removed.

    Raises ForeignFileError if it holds a file of the user.
    """
    with suppress(FileNotFoundError):
        # Another rank may remove it first.
        check_removable(folder, INDEX)
        aside = temporary_name(folder.with_name("leaving"), "")
        folder.rename(aside)
        remove_folder(aside, INDEX)


def _write(folder: Path, arrays: Arrays) -> None:
    """Write to a temporary folder and rename it, so that `folder` is always complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = temporary_name(folder.with_name("making"), "")
    aside.mkdir()
    try:
        mark_folder(aside, INDEX)
        contents = {}
        for name, array in arrays.items():
            with (aside / f"{name}.npy").open("x+b") as file:
                np.save(file, np.asarray(array))
                file.flush()
                size = os.fstat(file.fileno()).st_size
                contents[name] = _File(bytes=size, blake2b=_checksum(file.fileno()))
        text = _Contents(files=contents).model_dump_json()
        (aside / _CONTENTS).write_text(text, encoding="utf-8")
        aside.rename(folder)
    except OSError:
        with suppress(OSError):
            remove_folder(aside, INDEX)
        # Another rank may have written it first; anything else is a real failure.
        if not folder.is_dir():
            raise
