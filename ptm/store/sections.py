"""How an array of documents is laid out in the file of a shard: its sections, written and checked.

Shape letters: T tokens, S sentences and D documents of one shard.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from ptm.arrays import I64

FORMAT = 2
"""The format that is written. Format 1 is read as well."""
_ALIGNMENT = 8


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


@dataclass(frozen=True)
class _Kind:
    """What a section holds."""

    count: Callable[[ShardInfo], int] | None
    """Number of items; None if it follows from the values of another section."""
    dtypes: tuple[str, ...]
    optional: bool = False


_ENDS, _LENGTHS = ("<i8",), ("|u1", "<u2", "<u4")
_KINDS = {
    # Token ids; the vocabulary decides the type.
    "tokens": _Kind(lambda shard: shard.tokens, ("<u2", "<u4")),
    # Format 1: tokens up to the end of each sentence, sentences up to the end of each document.
    "sentence_ends": _Kind(lambda shard: shard.sentences, _ENDS),
    "document_ends": _Kind(lambda shard: shard.documents, _ENDS),
    # Format 2: tokens per sentence, sentences per document (a pair has two), in the smallest type
    # that holds the largest of the shard.
    "sentence_lengths": _Kind(lambda shard: shard.sentences, _LENGTHS),
    "document_lengths": _Kind(lambda shard: shard.documents, _LENGTHS),
    # A hash of the token ids of each document.
    "document_hashes": _Kind(lambda shard: shard.documents, ("<u8",)),
    # One bit per token, packed: whether the token starts a word. Only with a segmenter.
    "word_starts": _Kind(lambda shard: -(-shard.tokens // 8), ("|u1",), optional=True),
    # The class index of each document. Only with layout labelled.
    "labels": _Kind(lambda shard: shard.documents, ("<i4",), optional=True),
    # The class index of each word's tag + 1, at the first token of the word; 0 at other tokens.
    # Only with layout tagged.
    "tags": _Kind(lambda shard: shard.tokens, ("|u1", "<u2", "<u4"), optional=True),
    # Any number of integers for each document, and that number: the class indexes of texts that may
    # have several labels.
    "integer_counts": _Kind(lambda shard: shard.documents, _LENGTHS, optional=True),
    "integers": _Kind(None, ("<i4",), optional=True),
}
_OTHERS = ("document_hashes", "word_starts", "labels", "tags", "integer_counts", "integers")
SECTIONS = {
    1: ("tokens", "sentence_ends", "document_ends", *_OTHERS),
    2: ("tokens", "sentence_lengths", "document_lengths", *_OTHERS),
}
"""Names of the sections by format, in the order of the file."""


def layout_problem(shard: ShardInfo, *, number: int, token_type: str) -> str | None:
    """Why a manifest's entry does not describe a shard of format `number`, or None if it does.

    `token_type`: the type of token ids, which depends on the vocabulary.
    """
    names = [section.name for section in shard.sections]
    if names != [name for name in SECTIONS[number] if name in names or not _KINDS[name].optional]:
        return f"its sections are {', '.join(names)}"
    if min(shard.tokens, shard.sentences, shard.documents) < 1:
        return "its counts are not positive"
    end = 0
    for section in shard.sections:
        allowed = (token_type,) if section.name == "tokens" else _KINDS[section.name].dtypes
        if section.dtype not in allowed:
            return f"{section.name} has the type {section.dtype} instead of {allowed[0]}"
        expected = _KINDS[section.name].count
        if expected is not None and section.count != expected(shard):
            return f"{section.name} has {section.count} items"
        if section.offset != end + -end % _ALIGNMENT:
            return f"{section.name} starts at byte {section.offset}"
        end = section.offset + section.count * np.dtype(section.dtype).itemsize
    return None if end == shard.bytes else f"its sections have {end} bytes, not {shard.bytes}"


def write_shard(path: Path, arrays: Mapping[str, NDArray[Any]]) -> ShardInfo:
    """Write one shard in the order of `arrays` and sync it to disk.

    Sections are aligned to 8 bytes.
    """
    digest = hashlib.blake2b(digest_size=16)
    sections, offset = [], 0
    with path.open("wb") as file:
        for name, array in arrays.items():
            padding = b"\0" * (-offset % _ALIGNMENT)
            # Bytes in place: a copy of the tokens would be the largest part of the memory.
            data = np.ascontiguousarray(array).view(np.uint8).data
            offset += len(padding)
            sections.append(Section(name, array.dtype.str, array.size, offset))
            for part in (padding, data):
                file.write(part)
                digest.update(part)
            offset += len(data)
        file.flush()
        os.fsync(file.fileno())
    return ShardInfo(
        file=path.name,
        bytes=offset,
        blake2b=digest.hexdigest(),
        documents=int(arrays["document_lengths"].size),
        sentences=int(arrays["sentence_lengths"].size),
        tokens=int(arrays["tokens"].size),
        sections=tuple(sections),
    )


def in_smallest_type(lengths: I64) -> NDArray[np.unsignedinteger]:
    """`lengths` in the smallest unsigned type that holds the largest of them."""
    return lengths.astype(np.min_scalar_type(int(lengths.max(initial=0))))


def document_hashes(tokens: NDArray[Any], ends: Sequence[int] | I64) -> NDArray[np.uint64]:
    """A 64-bit hash of the token ids of each document (D).

    `tokens` (T) are the documents concatenated; `ends` (D) are the offsets of their ends.
    """
    data, width, begin = tokens.view(np.uint8).data, tokens.dtype.itemsize, 0
    hashes = np.empty(len(ends), dtype=np.uint64)
    for index, end in enumerate(ends):
        digest = hashlib.blake2b(data[begin * width : int(end) * width], digest_size=8).digest()
        hashes[index] = int.from_bytes(digest, "little")
        begin = int(end)
    return hashes
