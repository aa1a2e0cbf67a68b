"""Read the sorted table of keys and values that LevelDB defines and TensorFlow's index files use.

The format is that of LevelDB's doc/table_format.md: blocks of entries with shared key prefixes,
each followed by its type and checksum, an index block that lists the others, and a footer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ptm.errors import UserError
from ptm.interop.tf.crc32c import masked_crc32c

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TRAILER = 5
"""Bytes after every block: its type and its checksum."""
_UNCOMPRESSED = 0
_MAX_VARINT = 10


class DamagedError(Exception):
    """What is wrong with the bytes; completes "FILE: the file is damaged (...)"."""


def read_table(data: bytes) -> dict[bytes, bytes]:
    """All keys and values of a table file with content `data`.

    Raises DamagedError unless every block and checksum is in order, UserError for compressed
    blocks, which TensorFlow never writes.
    """
    if len(data) < _FOOTER or int.from_bytes(data[-8:], "little") != _MAGIC:
        raise DamagedError("it does not end as a TensorFlow index does")
    footer = data[-_FOOTER:]
    _, place = _handle(footer, 0)
    index, _ = _handle(footer, place)
    found: dict[bytes, bytes] = {}
    for _, handle in _entries(_block(data, index)):
        extent, _ = _handle(handle, 0)
        for key, value in _entries(_block(data, extent)):
            if key in found:
                raise DamagedError("it has a key twice")
            found[key] = value
    return found


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    """The variable-length integer at `place`, and the place after it. Raises DamagedError."""
    value = 0
    for count, byte in enumerate(data[place : place + _MAX_VARINT]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, place + count + 1
    raise DamagedError("a number does not end")


def _handle(data: bytes, place: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, stored at `place`, and the place after them."""
    offset, place = read_varint(data, place)
    size, place = read_varint(data, place)
    return (offset, size), place


def _block(data: bytes, extent: tuple[int, int]) -> bytes:
    offset, size = extent
    end = offset + size
    if end + _TRAILER > len(data):
        raise DamagedError("a block reaches beyond its end")
    kind, checksum = struct.unpack_from("<BI", data, end)
    if checksum != masked_crc32c(data[offset : end + 1]):
        raise DamagedError("the checksum of a block is wrong")
    if kind != _UNCOMPRESSED:
        raise UserError(
            "the index is compressed, which is not supported, because TensorFlow does not write "
            "compressed indexes. Save the checkpoint again with TensorFlow's tf.train.Saver."
        )
    return data[offset:end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block. The restart points, for binary search, are at its end."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise DamagedError("a block is too short")
    place, key = 0, b""
    while place < end:
        shared, place = read_varint(block, place)
        fresh, place = read_varint(block, place)
        size, place = read_varint(block, place)
        if shared > len(key) or place + fresh + size > end:
            raise DamagedError("an entry reaches beyond its block")
        key = key[:shared] + block[place : place + fresh]
        place += fresh
        yield key, block[place : place + size]
        place += size
