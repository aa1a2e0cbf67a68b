"""Reads compressed files of several streams or frames, and notices damage at their ends."""

from __future__ import annotations

import bz2
import lzma
from abc import ABC, abstractmethod
from typing import Any, Protocol

import zstandard


class Stored(Protocol):
    """The stored bytes of a file, read in order."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; b"" at the end only."""
        ...


class _SeveralStreams(ABC):
    """Reads compressed streams that follow each other to the end of the file.

    `bz2.BZ2File` and `lzma.LZMAFile` end without an error at data that are no stream, and
    `LZMAFile` also at the zero bytes that may lie between the streams of an .xz file.
    """

    _CHUNK = 2**16
    """Bytes read at once."""

    def __init__(self, raw: Stored) -> None:
        self._raw = raw
        self._packed = b""
        self._decompressor = self._first_decompressor()

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer at the end.

        Raises EOFError, OSError or lzma.LZMAError if the file is damaged.
        """
        found = bytearray()
        while len(found) < size:
            if self._decompressor.eof and not self._begin_next():
                break
            if self._decompressor.needs_input and not self._packed:
                self._packed = self._raw.read(self._CHUNK)
                if not self._packed:
                    raise EOFError("the compressed data are truncated")
            # The bound matters: bzip2 packs 45 MB of equal bytes into 40 bytes.
            packed, self._packed = self._packed, b""
            found += self._decompressor.decompress(packed, size - len(found))
        return bytes(found)

    def _begin_next(self) -> bool:
        """Begin the stream that follows; False at the end of the file."""
        self._packed = self._after_padding(self._decompressor.unused_data)
        if self._packed:
            self._decompressor = self._next_decompressor()
        return bool(self._packed)

    def _after_padding(self, packed: bytes) -> bytes:
        """The bytes from the next stream on; `packed` follows the last one."""
        return packed or self._raw.read(self._CHUNK)

    def _first_decompressor(self) -> Any:
        return self._next_decompressor()

    @abstractmethod
    def _next_decompressor(self) -> Any: ...


class Bzip2File(_SeveralStreams):
    """Reads .bz2."""

    def _next_decompressor(self) -> Any:
        return bz2.BZ2Decompressor()


class XzFile(_SeveralStreams):
    """Reads .xz, and .lzma of one stream.

    Zero bytes, a multiple of 4, may follow a stream (The .xz File Format 1.2.1, section 2.2).
    """

    def _first_decompressor(self) -> Any:
        return lzma.LZMADecompressor()

    def _next_decompressor(self) -> Any:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ)

    def _after_padding(self, packed: bytes) -> bytes:
        padding = 0
        while packed := packed or self._raw.read(self._CHUNK):
            stream = packed.lstrip(b"\0")
            padding += len(packed) - len(stream)
            packed = stream
            if stream:
                break
        if padding % 4:
            raise EOFError("the padding between its streams has a wrong length")
        return packed


class ZstandardFile:
    """Reads .zst frame by frame and raises EOFError if the file ends in the middle of a frame.

    zstandard's own `stream_reader(read_across_frames=True)` ends without an error in that case:
    a file cut by 5 bytes gave 1,179,648 of 1,200,000 bytes.
    """

    _CHUNK = 2**9
    """Bytes read at once. zstd packs up to 128 KB of text into 4 bytes, all of which come out."""

    def __init__(self, raw: Stored) -> None:
        self._raw = raw
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._started = False
        self._ready = bytearray()

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer at the end. Raises EOFError if the file is truncated."""
        while len(self._ready) < size:
            chunk = self._raw.read(self._CHUNK)
            if not chunk:
                if self._started and not self._frame.eof:
                    raise EOFError("the compressed data are truncated")
                break
            self._feed(chunk)
        data = bytes(self._ready[:size])
        del self._ready[:size]
        return data

    def _feed(self, chunk: bytes) -> None:
        while chunk:
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._started = True
            self._ready += self._frame.decompress(chunk)
            chunk = self._frame.unused_data if self._frame.eof else b""
