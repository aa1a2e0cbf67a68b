"""A plain writer of TensorFlow's tensor bundles, for variants that no fixture has.

It shares no code with ptm's reader: the checksum is computed bit by bit, and every key has an entry
of its own in an index of small blocks.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DTYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "bfloat16": 14, "float16": 19}


@dataclass(frozen=True)
class Stored:
    """A tensor as it is to be written: the bytes, TensorFlow's number of the dtype, the shape."""

    data: bytes
    dtype: int
    shape: Sequence[int]


def stored(value: np.ndarray) -> Stored:
    """An array as a tensor of the bundle."""
    return Stored(value.tobytes(), DTYPES[value.dtype.name], value.shape)


def write_bundle(
    prefix: Path,
    tensors: Mapping[str, Stored],
    *,
    shards: int = 1,
    big_endian: bool = False,
    compressed: bool = False,
    keys_per_block: int = 3,
) -> None:
    """Write the files of a bundle; tensors are dealt to `shards` data files in turn.

    `big_endian`, `compressed`: only say so in the header or in the blocks' type.
    """
    data = [b""] * shards
    entries = {b"": _field(1, shards) + (_field(2, 1) if big_endian else b"")}
    for index, (name, tensor) in enumerate(sorted(tensors.items())):
        shard = index % shards
        shape = b"".join(_message(2, _field(1, size)) for size in tensor.shape)
        entries[name.encode()] = (
            _field(1, tensor.dtype)
            + _message(2, shape)
            + _field(3, shard)
            + _field(4, len(data[shard]))
            + _field(5, len(tensor.data))
            + bytes((6 << 3 | 5,))
            + struct.pack("<I", masked(tensor.data))
        )
        data[shard] += tensor.data
    for shard, content in enumerate(data):
        prefix.with_name(f"{prefix.name}.data-{shard:05}-of-{shards:05}").write_bytes(content)
    prefix.with_name(f"{prefix.name}.index").write_bytes(
        table(entries, keys_per_block=keys_per_block, kind=int(compressed))
    )


def table(entries: Mapping[bytes, bytes], *, keys_per_block: int = 3, kind: int = 0) -> bytes:
    """A LevelDB table of these keys and values; `kind`: type of the blocks (0: uncompressed)."""
    content, index = b"", b""
    keys = sorted(entries)
    for first in range(0, len(keys), keys_per_block):
        some = keys[first : first + keys_per_block]
        block, handle = _block([(key, entries[key]) for key in some], len(content), kind)
        content += block
        index += _entry(some[-1], handle)
    meta, meta_handle = _block([], len(content), kind)
    content += meta
    last = index + struct.pack("<II", 0, 1)
    index_handle = varint(len(content)) + varint(len(last))
    content += last + bytes((kind,)) + struct.pack("<I", masked(last + bytes((kind,))))
    footer = (meta_handle + index_handle).ljust(40, b"\0")
    return content + footer + struct.pack("<Q", 0xDB4775248B80FB57)


def varint(value: int) -> bytes:
    """A number in groups of seven bits, the lowest first."""
    found = []
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


def masked(data: bytes) -> int:
    """The masked CRC32C, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _block(pairs: Sequence[tuple[bytes, bytes]], place: int, kind: int) -> tuple[bytes, bytes]:
    """A block with its trailer, and its handle; `place`: its offset in the file."""
    content = b"".join(_entry(key, value) for key, value in pairs) + struct.pack("<II", 0, 1)
    end = bytes((kind,))
    handle = varint(place) + varint(len(content))
    return content + end + struct.pack("<I", masked(content + end)), handle


def _entry(key: bytes, value: bytes) -> bytes:
    return varint(0) + varint(len(key)) + varint(len(value)) + key + value


def _field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def _message(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value
