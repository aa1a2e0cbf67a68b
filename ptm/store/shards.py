"""The shard files of a store: their layout, opened for reading, and checked for changes.

A shard stays open once it was read, so that a store that is replaced meanwhile remains readable,
and so that a file that was cut short or written to is noticed before it is read. Reading a memory
map past the end of its file would end the process with SIGBUS.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from ptm.errors import UserError
from ptm.files.reading import FileContentError, open_regular, reason_of

_CHUNK = 1 << 22
_ALIGNMENT = 8
_OTHER_FILES = 512
"""Open files of a training besides its shards."""


@dataclass(frozen=True)
class Section:
    """Position of an array in a shard's file."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    name: str
    dtype: str
    count: int
    """Number of items."""
    offset: int
    """Bytes from the start of the file."""


@dataclass(frozen=True)
class ShardInfo:
    """The manifest's entry of one shard."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    file: str
    bytes: int
    blake2b: str
    """Checksum of the whole file, in hex."""
    documents: int
    sentences: int
    tokens: int
    sections: tuple[Section, ...]


# Number of items of each section of a shard, and its types, in the order of the file:
# tokens: token ids, uint16 or uint32
# sentence_ends: int64 per sentence, number of tokens up to its end
# document_ends: int64 per document, number of sentences up to its end; a pair has two sentences
# document_hashes: uint64 per document, hash of its token ids
# word_starts: one bit per token, packed: whether the token starts a word (only with a segmenter)
# labels: int32 per document, its class index (only with layout labelled)
_COUNTS: dict[str, Callable[[ShardInfo], int]] = {
    "tokens": lambda shard: shard.tokens,
    "sentence_ends": lambda shard: shard.sentences,
    "document_ends": lambda shard: shard.documents,
    "document_hashes": lambda shard: shard.documents,
    "word_starts": lambda shard: -(-shard.tokens // 8),
    "labels": lambda shard: shard.documents,
}
_DTYPES = {
    "tokens": ("<u2", "<u4"),
    "sentence_ends": ("<i8",),
    "document_ends": ("<i8",),
    "document_hashes": ("<u8",),
    "word_starts": ("|u1",),
    "labels": ("<i4",),
}
_OPTIONAL = {"labels", "word_starts"}


def layout_problem(shard: ShardInfo, *, token_type: str) -> str | None:
    """Why a manifest's entry does not describe a shard as `write_shard` lays it out, or None.

    `token_type`: the type of token ids, which depends on the vocabulary.
    """
    names = [section.name for section in shard.sections]
    if names != [name for name in _COUNTS if name in names or name not in _OPTIONAL]:
        return f"its sections are {', '.join(names)}"
    if min(shard.tokens, shard.sentences, shard.documents) < 1:
        return "its counts are not positive"
    end = 0
    for section in shard.sections:
        allowed = (token_type,) if section.name == "tokens" else _DTYPES[section.name]
        if section.dtype not in allowed:
            return f"{section.name} has the type {section.dtype} instead of {allowed[0]}"
        if section.count != _COUNTS[section.name](shard):
            return f"{section.name} has {section.count} items"
        if section.offset != end + -end % _ALIGNMENT:
            return f"{section.name} starts at byte {section.offset}"
        end = section.offset + section.count * np.dtype(section.dtype).itemsize
    return None if end == shard.bytes else f"its sections have {end} bytes, not {shard.bytes}"


def allow_open_files(shards: int) -> None:
    """Raise this process's limit of open files as far as `shards` opened shards need it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A shard's memory map has a file descriptor of its own.
    needed = 2 * shards + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


class ShardFile:
    """An opened shard, memory-mapped."""

    def __init__(self, path: Path, info: ShardInfo, *, store: Path) -> None:
        """Raises UserError if the file cannot be read, or has another size than `info`."""
        self._path, self._info, self._store = path, info, store
        self._map: mmap.mmap | None = None
        try:
            self._file = open_regular(path)
        except (OSError, FileContentError) as error:
            raise self._damaged(reason_of(error)) from error
        found = os.fstat(self._file.fileno())
        self._modified = found.st_mtime_ns
        self._check_size(found.st_size)

    def section(self, name: str) -> NDArray[Any]:
        """The array of one section, memory-mapped. Call `check_unchanged` before reading it."""
        section = next(one for one in self._info.sections if one.name == name)
        if self._map is None:
            size = self._info.bytes
            self._map = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ)
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

    def _damaged(self, what: str) -> UserError:
        return UserError(
            f"{self._path}: {what}. The store is damaged, or was changed while it was in use. "
            f"Remove {self._store} and run `ptm preprocess RECIPE` again."
        )
