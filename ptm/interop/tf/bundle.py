"""Read a checkpoint in TensorFlow's format V2, the tensor bundle, without TensorFlow.

A bundle is an index file, `PREFIX.index`, which lists the tensors, and data files,
`PREFIX.data-00000-of-00001`, which hold their values. The other files of a checkpoint
(`PREFIX.meta`, the graph) are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ptm.errors import UserError
from ptm.interop.tf.bundle_entries import (
    DTYPES,
    Entry,
    Slice,
    read_entry,
    read_header,
    slice_key,
)
from ptm.interop.tf.crc32c import masked_crc32c
from ptm.interop.tf.sstable import DamagedError, read_table

_HEADER = b""
"""Key of the header."""
_SLICE = 0
"""First byte of the key of a slice; names of tensors do not start with it."""
_MAX_INDEX = 1 << 26
"""Bytes of the largest index that is read; the index of a BERT has about 20 KB."""


class TensorBundle:
    """A checkpoint with the prefix `prefix`, such as `folder/bert_model.ckpt`."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.index = prefix.with_name(f"{prefix.name}.index")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors, sorted. Raises UserError if the index is damaged."""
        return tuple(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor."""
        return self._entries[name].shape

    def read(self, name: str) -> Tensor:
        """A tensor in fp32. Raises UserError if the data are missing, damaged or no numbers."""
        try:
            entry = self._entries[name]
            if not entry.slices:
                return self._values(entry)
            return self._joined(name, entry)
        except UserError as error:
            raise UserError(f"{self.prefix}: {name}: {error}") from error
        except DamagedError as error:
            raise UserError(f"{self.prefix}: {name}: the data are damaged ({error}).") from error

    @cached_property
    def _table(self) -> Mapping[bytes, bytes]:
        if not self.index.is_file():
            raise UserError(
                f"{self.index}: is not a file. A TensorFlow checkpoint consists of PREFIX.index "
                "and PREFIX.data-00000-of-00001; files in TensorFlow's older format V1 are not "
                "supported."
            )
        try:
            if self.index.stat().st_size > _MAX_INDEX:
                raise DamagedError(f"it has more than {_MAX_INDEX >> 20} MiB")
            return read_table(self.index.read_bytes())
        except DamagedError as error:
            raise UserError(f"{self.index}: the file is damaged ({error}).") from error
        except UserError as error:
            raise UserError(f"{self.index}: {error}") from error
        except OSError as error:
            raise UserError(f"{self.index}: cannot be read: {error.strerror}.") from error

    @cached_property
    def _shards(self) -> int:
        """Number of data files."""
        try:
            if _HEADER not in self._table:
                raise DamagedError("it has no header")
            return read_header(self._table[_HEADER])
        except DamagedError as error:
            raise UserError(f"{self.index}: the file is damaged ({error}).") from error
        except UserError as error:
            raise UserError(f"{self.index}: {error}") from error

    @cached_property
    def _entries(self) -> Mapping[str, Entry]:
        if not self._shards:
            raise UserError(f"{self.index}: the checkpoint has no data files.")
        try:
            return {
                key.decode(): read_entry(value)
                for key, value in self._table.items()
                if key != _HEADER and key[0] != _SLICE
            }
        except UnicodeDecodeError as error:
            raise UserError(f"{self.index}: the file is damaged (a name is no text).") from error
        except DamagedError as error:
            raise UserError(f"{self.index}: the file is damaged ({error}).") from error

    def _joined(self, name: str, entry: Entry) -> Tensor:
        """The tensor of a partitioned variable, from its slices."""
        parts = [(_ranges(part, entry.shape), slice_key(name, part)) for part in entry.slices]
        pieces = [self._slice(key, _extent(cuts)) for cuts, key in parts]
        # The pieces exist, so a shape of their size takes no more memory than the data files.
        if sum(piece.numel() for piece in pieces) != entry.values:
            raise DamagedError("its slices are not the whole tensor")
        found, covered = torch.empty(entry.shape), torch.zeros(entry.shape, dtype=torch.bool)
        for (cuts, _), piece in zip(parts, pieces, strict=True):
            found[cuts], covered[cuts] = piece, True
        if not covered.all():
            raise DamagedError("its slices overlap")
        return found

    def _slice(self, key: bytes, extent: tuple[int, ...]) -> Tensor:
        if key not in self._table:
            raise DamagedError("a slice is missing")
        entry = read_entry(self._table[key])
        if entry.shape != extent or entry.slices:
            raise DamagedError("a slice has another shape")
        return self._values(entry)

    def _values(self, entry: Entry) -> Tensor:
        """The tensor of an entry without slices, checked against its checksum."""
        if entry.values * entry.item_size != entry.size:
            raise DamagedError(f"{entry.size} bytes for the shape {entry.shape}")
        if entry.shard >= self._shards:
            raise DamagedError(f"data file {entry.shard} of {self._shards}")
        path = self.prefix.with_name(
            f"{self.prefix.name}.data-{entry.shard:05}-of-{self._shards:05}"
        )
        if not path.is_file():
            raise UserError(f"the data file {path} does not exist or is not a file.")
        if entry.offset + entry.size > path.stat().st_size:
            raise DamagedError(f"{path.name} is shorter than the index says")
        try:
            with path.open("rb") as file:
                file.seek(entry.offset)
                data = bytearray(entry.size)
                file.readinto(data)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}.") from error
        if masked_crc32c(memoryview(data)) != entry.checksum:
            raise DamagedError(f"the checksum of its bytes in {path.name} is wrong")
        return _tensor(data, entry)


def _tensor(data: bytearray, entry: Entry) -> Tensor:
    if not data:
        return torch.zeros(entry.shape)
    kind = DTYPES[entry.dtype]
    flat = (
        torch.frombuffer(data, dtype=torch.bfloat16)
        if kind == "bfloat16"
        else torch.from_numpy(np.frombuffer(data, dtype=kind))
    )
    return flat.reshape(entry.shape).float()


def _extent(cuts: tuple[slice, ...]) -> tuple[int, ...]:
    return tuple(cut.stop - cut.start for cut in cuts)


def _ranges(part: Slice, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The slice as Python slices of every dimension. Raises DamagedError outside of the shape."""
    if len(part.starts) != len(shape):
        raise DamagedError("a slice has another number of dimensions")
    found = []
    for start, length, size in zip(part.starts, part.lengths, shape, strict=True):
        end = size if length is None else start + length
        if start > end or end > size:
            raise DamagedError("a slice reaches beyond the tensor")
        found.append(slice(start, end))
    return tuple(found)
