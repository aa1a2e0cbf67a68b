"""Finished blocks of an unfinished store: each is a shard, with a file that describes it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter

from ptm.errors import UserError
from ptm.files.reading import MEGABYTE, FileContentError, read_bytes
from ptm.files.records import parse_json_as
from ptm.store.encode import BlockCounts, BlockTokenizer
from ptm.store.sections import ShardInfo, write_shard
from ptm.store.shards import ShardFile
from ptm.text.corpus import Block


@dataclass(frozen=True)
class FinishedBlock:
    """A block of the corpus whose shard is written."""

    file: int
    """Index of the file in the corpus."""
    number: int
    """Index of the block in the file, from 0."""
    bytes_read: int
    """Bytes of the stored file that were read up to the end of the block."""
    shard: ShardInfo
    counts: BlockCounts


def finish_block(encode: BlockTokenizer, block: Block, partial: Path) -> FinishedBlock:
    """Write the shard of a block to the folder `partial`, unless a stopped run has written it.

    SHARD.json, with shard info and counts, is renamed into place last: if it exists, so does the
    whole shard.
    """
    name = f"shard-{block.file:05d}-{block.number:06d}"
    digest = hashlib.blake2b(block.data, digest_size=16).hexdigest()
    note = _finished(partial, name, digest)
    if note is None:
        arrays, counts = encode(block)
        note = _Note(write_shard(partial / f"{name}.bin", arrays), counts, digest)
        info_file = partial / f"{name}.json"
        unfinished = info_file.with_suffix(".tmp")
        unfinished.write_text(json.dumps(asdict(note)), encoding="utf-8")
        unfinished.rename(info_file)
    return FinishedBlock(block.file, block.number, block.bytes_read, note.shard, note.counts)


@dataclass(frozen=True)
class _Note:
    """SHARD.json: a finished shard of an unfinished store."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    shard: ShardInfo
    counts: BlockCounts
    block: str
    """Checksum of the block's text."""


@cache
def _note_type() -> TypeAdapter[_Note]:
    return TypeAdapter(_Note)


def _finished(partial: Path, name: str, digest: str) -> _Note | None:
    """The note of a shard from a stopped run; None unless it is whole and of the same text."""
    try:
        content = read_bytes(partial / f"{name}.json", limit=MEGABYTE)
        found = parse_json_as(content, _note_type())
    except (OSError, FileContentError):
        # Not written yet, truncated by a power cut, or damaged: encode the block again.
        return None
    path = partial / found.shard.file
    if found.block != digest or path.name != f"{name}.bin":
        return None
    try:
        ShardFile(path, found.shard, store=partial).verify()
    except UserError:
        return None
    return found
