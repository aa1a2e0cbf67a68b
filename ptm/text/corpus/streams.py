"""The bytes of a corpus file, local or remote, decompressed."""

from __future__ import annotations

import gzip
import logging
import lzma
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

from ptm.errors import UserError
from ptm.limits import LARGEST_UNPACKED_TABLE
from ptm.text.corpus.changes import changed, checked_for_changes
from ptm.text.corpus.compressed import Bzip2File, Stored, XzFile, ZstandardFile
from ptm.text.corpus.files import COMPRESSIONS, CorpusFile
from ptm.text.corpus.remote import is_remote, open_remote

logger = logging.getLogger(__name__)

_MAGIC = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\xfd7zXZ\x00": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
}
"""First bytes of a compressed file -> its suffix."""
_LONGEST_MAGIC = max(map(len, _MAGIC))
_DAMAGED = (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError)


class CorpusStream:
    """Reads a file from its beginning and decompresses it.

    The compression is that of the suffix, or else that of the first bytes.
    """

    def __init__(self, file: CorpusFile, raw: Stored) -> None:
        self._path = file.path
        self._raw = _CountingReader(raw)
        self._stream = self._decompressed(file)

    @property
    def bytes_read(self) -> int:
        """Bytes of the stored (maybe compressed) file that were read."""
        return self._raw.count

    @property
    def is_compressed(self) -> bool:
        """Whether the stored bytes are decompressed."""
        return self._stream is not self._raw

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; b"" at the end only.

        Raises UserError if the file is damaged, RemoteReadError if a server fails.
        """
        try:
            return cast(bytes, self._stream.read(size))
        except _DAMAGED as error:
            if not self.is_compressed:
                raise UserError(f"{self._path}: cannot be read: {error}.") from error
            raise UserError(
                f"{self._path}: the file is damaged, or its suffix is wrong ({error})."
            ) from error

    def _decompressed(self, file: CorpusFile) -> Any:
        name = file.path.split("?")[0] if is_remote(file.path) else file.path
        suffix = Path(name).suffix.lower()
        if suffix not in COMPRESSIONS:
            begin = self._raw.peek(_LONGEST_MAGIC)
            suffix = next((_MAGIC[magic] for magic in _MAGIC if begin.startswith(magic)), "")
        if suffix == ".gz":
            return gzip.GzipFile(fileobj=cast(BinaryIO, self._raw))
        if suffix == ".bz2":
            return Bzip2File(self._raw)
        if suffix == ".xz":
            return XzFile(self._raw)
        if suffix == ".zst":
            return ZstandardFile(self._raw)
        return self._raw


@contextmanager
def open_stream(file: CorpusFile, *, whole: bool = False) -> Iterator[CorpusStream]:
    """Open a file for reading from its beginning.

    `whole`: the body reads it to its end. Raises UserError if it cannot be read, and with `whole`
    if it has changed since it was found.
    """
    with open_stored(file, seek=False, whole=whole) as raw:
        stream = CorpusStream(file, raw)
        if whole:
            _warn_of_unknown_length(file, stream)
        yield stream


@contextmanager
def open_seekable(file: CorpusFile, *, whole: bool = False) -> Iterator[BinaryIO]:
    """Open a file that is read in parts, such as parquet; `whole` as for `open_stream`.

    A compressed file, and one of a server that only sends whole files, is copied to a temporary
    file first. Raises UserError if it cannot be read, and with `whole` if it has changed since it
    was found.
    """
    with open_stored(file, seek=True, whole=whole) as raw:
        stream = CorpusStream(file, raw)
        if whole:
            _warn_of_unknown_length(file, stream)
        if not stream.is_compressed and raw.seekable():
            raw.seek(0)
            yield raw
            return
        with tempfile.TemporaryFile() as unpacked:
            total = 0
            while chunk := stream.read(2**20):
                total += len(chunk)
                if total > LARGEST_UNPACKED_TABLE:
                    raise UserError(
                        f"{file.path}: the file unpacks to more than "
                        f"{LARGEST_UNPACKED_TABLE // 2**30} GB. Unpack it and give the result."
                    )
                unpacked.write(chunk)
            unpacked.seek(0)
            yield cast(BinaryIO, unpacked)


@contextmanager
def open_stored(file: CorpusFile, *, seek: bool, whole: bool) -> Iterator[BinaryIO]:
    """Open the stored bytes of a file, compressed or not; `whole` as for `open_stream`.

    `seek`: whether they are read in parts. Raises UserError if the file cannot be read, and with
    `whole` if it has changed since it was found.
    """
    with ExitStack() as opened:
        if is_remote(file.path):
            raw = opened.enter_context(open_remote(file.path, seek=seek))
        else:
            try:
                raw = opened.enter_context(Path(file.path).open("rb"))
            except OSError as error:
                if whole and isinstance(error, FileNotFoundError):
                    raise changed(file) from error
                raise UserError(f"{file.path}: cannot be read: {error.strerror}.") from error
        if whole:
            opened.enter_context(checked_for_changes(file, raw))
        yield raw


def read_at(file: CorpusFile, raw: BinaryIO, offset: int, size: int) -> bytes:
    """Read `size` bytes of an open file, fewer at its end. Raises UserError."""
    try:
        raw.seek(offset)
        return raw.read(size)
    except OSError as error:
        raise UserError(f"{file.path}: cannot be read: {error}.") from error


def _warn_of_unknown_length(file: CorpusFile, stream: CorpusStream) -> None:
    # A compressed file that ends early is an error anyway.
    if is_remote(file.path) and not file.bytes and not stream.is_compressed:
        logger.warning(
            "%s: its length is not known, so a connection that ended early would not be noticed.",
            file.path,
        )


class _CountingReader:
    """Reads a stream, counts the bytes, and can look ahead at the beginning."""

    def __init__(self, raw: Stored) -> None:
        self._raw = raw
        self._ahead = b""
        self.count = 0

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, which stay to be read."""
        self._ahead += self._raw.read(size - len(self._ahead))
        return self._ahead

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes; b"" at the end only, if `size` is not 0."""
        assert size >= 0, "a corpus is read in pieces"
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        if len(data) < size:
            data += self._raw.read(size - len(data))
        self.count += len(data)
        return data

    def seek(self, *_: Any) -> int:
        raise OSError("a corpus is read from its beginning")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False
