"""The parts of a corpus that workers turn into shards.

The parent process only names files and ranges, and the workers read them. A file that has no ranges
and is larger than a worker's share of the corpus is the exception: the parent reads it, so that
several workers tokenise it. Remote files are also read by the parent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ptm.errors import UserError
from ptm.store.encode import BlockTokenizer
from ptm.store.finished import FinishedBlock, finish_block
from ptm.text.corpus import Block, BlockRange, CorpusReader

Part = CorpusReader | BlockRange | Block
"""A whole file, a range that is one block, or a block that was read already."""
Task = tuple[Part, ...]
"""Consecutive parts, for one worker."""

_TASK_BYTES = 2**18
"""Smaller files are handed out together, down to this size."""


def tasks_of(readers: Iterable[CorpusReader], *, largest_file: int) -> Iterator[Task]:
    """Yield the tasks of a corpus in order.

    `largest_file`: the bytes up to which one worker reads a file that has no ranges. Raises
    UserError as `CorpusReader` does.
    """
    task: list[Part] = []
    size = 0
    try:
        for reader in readers:
            for part in _parts_of(reader, largest_file):
                task.append(part)
                size += _size(part)
                if size >= _TASK_BYTES:
                    yield tuple(task)
                    task, size = [], 0
    except UserError:
        # An error of an earlier file is reported first.
        if task:
            yield tuple(task)
        raise
    if task:
        yield tuple(task)


def _parts_of(reader: CorpusReader, largest_file: int) -> Iterator[Part]:
    ranges = reader.ranges()
    if ranges is not None:
        yield from ranges
    elif reader.is_remote or reader.file.bytes > largest_file:
        yield from reader.blocks()
    else:
        yield reader


def _size(part: Part) -> int:
    if isinstance(part, BlockRange):
        return part.length
    return len(part.data) if isinstance(part, Block) else part.file.bytes


def finish_task(task: Task, encode: BlockTokenizer, partial: Path) -> Iterator[FinishedBlock]:
    """Write the shards of a task to the folder `partial`; yield each finished block."""
    for part in task:
        if isinstance(part, Block):
            yield finish_block(encode, part, partial)
        elif isinstance(part, BlockRange):
            yield _finish_range(part, encode, partial)
        else:
            for block in part.blocks():
                yield finish_block(encode, block, partial)


def _finish_range(part: BlockRange, encode: BlockTokenizer, partial: Path) -> FinishedBlock:
    try:
        return finish_block(encode, part.read(), partial)
    except UserError:
        # The message names a line by its number in the file, which takes reading what is before.
        return finish_block(encode, part.numbered(), partial)
