"""The messages of TensorFlow's tensor_bundle.proto, read from protobuf's wire format.

The four messages have eighteen fields, so a parser of the wire format is shorter than generated
classes, and sizes are checked before memory is taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ptm.errors import UserError
from ptm.interop.tf.sstable import DamagedError, read_varint

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DIMENSIONS = 8

DTYPES: Mapping[int, str] = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    9: "<i8",
    14: "bfloat16",
    19: "<f2",
}
"""TensorFlow's number of a data type to numpy's type. numpy lacks bfloat16."""


@dataclass(frozen=True)
class Slice:
    """The part of a partitioned tensor that one of its entries holds.

    `starts`, `lengths`: one value per dimension; a length is None for the whole dimension.
    """

    starts: tuple[int, ...]
    lengths: tuple[int | None, ...]


@dataclass(frozen=True)
class Entry:
    """Where and how a tensor is stored; with `slices`, its parts have entries of their own."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    """Bytes in the data file."""
    checksum: int
    """Masked CRC32C of these bytes."""
    slices: tuple[Slice, ...]

    @property
    def values(self) -> int:
        """Number of values that the shape requires."""
        return math.prod(self.shape)

    @property
    def item_size(self) -> int:
        """Bytes per value. Raises UserError for a data type that is no number."""
        if self.dtype not in DTYPES:
            raise UserError(
                f"its data type (number {self.dtype} of TensorFlow's types) is not supported. "
                "Supported: float32, float64, float16, bfloat16, int32, int64."
            )
        return 2 if DTYPES[self.dtype] == "bfloat16" else np.dtype(DTYPES[self.dtype]).itemsize


def read_header(data: bytes) -> int:
    """The number of data files. Raises UserError for a big-endian checkpoint."""
    fields = _fields(data)
    if _number(fields, 2):
        raise UserError(
            "the checkpoint was written on a big-endian machine, which is not supported. Save it "
            "again on a little-endian machine."
        )
    return _number(fields, 1)


def read_entry(data: bytes) -> Entry:
    """The entry that `data` encodes. Raises DamagedError."""
    fields = _fields(data)
    return Entry(
        dtype=_number(fields, 1),
        shape=_shape(_message(fields, 2)),
        shard=_number(fields, 3),
        offset=_number(fields, 4),
        size=_number(fields, 5),
        checksum=_number(fields, 6),
        slices=tuple(_slice(part) for part in _messages(fields, 7)),
    )


def slice_key(name: str, part: Slice) -> bytes:
    """The key of the entry of one slice: TensorFlow's ordered encoding of name and extents."""
    text = name.encode().replace(b"\x00", b"\x00\xff").replace(b"\xff", b"\xff\x00")
    extents = (
        _ordered(start) + _ordered(-1 if length is None else length)
        for start, length in zip(part.starts, part.lengths, strict=True)
    )
    return b"\x00" + text + b"\x00\x01" + bytes((1, len(part.starts))) + b"".join(extents)


def _ordered(value: int) -> bytes:
    """A signed number, so encoded that the bytes sort as the numbers do.

    As many leading bits as the encoding has bytes are set (for a negative number: cleared), after
    which the value follows in big-endian order.
    """
    length = (value if value >= 0 else ~value).bit_length() // 7 + 1
    bits = 8 * length
    leading = ((1 << length) - 1) << (bits - length)
    return ((value & ((1 << bits) - 1)) ^ leading).to_bytes(length, "big")


def _shape(data: bytes) -> tuple[int, ...]:
    fields = _fields(data)
    sizes = tuple(_number(_fields(part), 1) for part in _messages(fields, 2))
    if _number(fields, 3) or len(sizes) > _MAX_DIMENSIONS:
        raise DamagedError("a tensor has no valid shape")
    return sizes


def _slice(data: bytes) -> Slice:
    extents = [_fields(part) for part in _messages(_fields(data), 1)]
    return Slice(
        tuple(_number(extent, 1) for extent in extents),
        tuple(_number(extent, 2) if 2 in extent else None for extent in extents),
    )


def _fields(data: bytes) -> dict[int, list[int | bytes]]:
    """The values of a message by field number, in order: numbers, or the bytes of messages."""
    found: dict[int, list[int | bytes]] = {}
    place = 0
    while place < len(data):
        tag, place = read_varint(data, place)
        kind = tag & 7
        value: int | bytes
        if kind == _VARINT:
            value, place = read_varint(data, place)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
            value, place = int.from_bytes(_take(data, place, size), "little"), place + size
        elif kind == _BYTES:
            size, place = read_varint(data, place)
            value, place = _take(data, place, size), place + size
        else:
            raise DamagedError("an entry cannot be parsed")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _take(data: bytes, place: int, size: int) -> bytes:
    if place + size > len(data):
        raise DamagedError("an entry is cut off")
    return data[place : place + size]


def _number(fields: Mapping[int, Sequence[int | bytes]], number: int) -> int:
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise DamagedError("an entry has fields of other types")
    return value


def _messages(fields: Mapping[int, Sequence[int | bytes]], number: int) -> list[bytes]:
    values = fields.get(number, ())
    found = [value for value in values if isinstance(value, bytes)]
    if len(found) != len(values):
        raise DamagedError("an entry has fields of other types")
    return found


def _message(fields: Mapping[int, Sequence[int | bytes]], number: int) -> bytes:
    return b"".join(_messages(fields, number))
