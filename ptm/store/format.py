"""The token store: written once by `ptm preprocess`, memory-mapped by every training.

A store is a folder with `store.json` and one file per shard. A shard has the documents of one
corpus block: token ids, ends of sentences and documents, one hash per document and, if a recipe
needs them, word starts. Documents are concatenated, so that a document (or a part of it) is a range
of global token positions. A pair is a document of two sentences: source, then target. A labelled
document has one or two sentences (its texts), and a class index.

Shape letters: T tokens, S sentences and D documents of the store; R ranges of tokens.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter

from ptm.arrays import I64, ragged_ranges
from ptm.errors import UserError
from ptm.files.kinds import MARKER
from ptm.files.ownership import read_marker
from ptm.files.reading import MEGABYTE, FileContentError, read_bytes, reason_of
from ptm.files.records import parse_json, parse_json_as
from ptm.store.shards import Section, ShardFile, ShardInfo, allow_open_files, layout_problem

FORMAT = 1
MANIFEST = "store.json"
_MANIFEST_BYTES = 512 * MEGABYTE
"""About 500,000 shards: every file of a corpus has at least one."""
_SHARD_NAME = re.compile(r"shard-\d{5,}-\d{6,}\.bin")


@dataclass(frozen=True)
class StoreInfo:
    """The manifest of a store, `store.json`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    tokenizer: str
    """Fingerprint of the tokenizer."""
    vocabulary_size: int
    layout: str
    segmenter: Mapping[str, Any] | None
    shards: tuple[ShardInfo, ...]
    corpus: tuple[Mapping[str, Any], ...]
    """The corpus files, with sizes and modification times."""
    report: Mapping[str, int]
    """Counts of lines, empty documents etc. over the corpus."""
    format: int = FORMAT
    sentence_splitting: bool = False
    """Whether the documents of layout `documents` were split into sentences."""
    target_tokenizer: str | None = None
    """Fingerprint of the targets' tokenizer with layout `pairs`; None: the sources' tokenizer."""
    target_vocabulary_size: int | None = None
    labels: Mapping[str, int] | None = None
    """Number of documents per label, in the order of the classes, with layout `labelled`."""

    @cached_property
    def fingerprint(self) -> str:
        """Hash that changes with any token or label of the store, and with the tokenizers."""
        parts: list[Any] = [self.tokenizer, [shard.blake2b for shard in self.shards]]
        # Only if there are any, so that the fingerprints of other stores stay as they are.
        parts += [self.target_tokenizer] if self.target_tokenizer else []
        parts += [list(self.labels)] if self.labels else []
        text = json.dumps(parts)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def target_size(self) -> int:
        """Size of the targets' vocabulary."""
        return self.target_vocabulary_size or self.vocabulary_size

    @property
    def documents(self) -> int:
        """Number of documents in all shards."""
        return sum(shard.documents for shard in self.shards)

    @property
    def tokens(self) -> int:
        """Number of tokens in all shards."""
        return sum(shard.tokens for shard in self.shards)

    @property
    def has_word_starts(self) -> bool:
        """Whether the store has word starts."""
        return self.segmenter is not None


def write_shard(path: Path, arrays: Mapping[str, NDArray[Any]]) -> ShardInfo:
    """Write one shard and sync it to disk. Sections are aligned to 8 bytes."""
    digest = hashlib.blake2b(digest_size=16)
    sections, offset = [], 0
    with path.open("wb") as file:
        for name, array in arrays.items():
            padding = b"\0" * (-offset % 8)
            data = np.ascontiguousarray(array).tobytes()
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
        documents=int(arrays["document_ends"].size),
        sentences=int(arrays["sentence_ends"].size),
        tokens=int(arrays["tokens"].size),
        sections=tuple(sections),
    )


def write_manifest(folder: Path, info: StoreInfo) -> None:
    """Write `store.json` and sync it to disk."""
    data = asdict(info)
    if info.labels is None:
        # A store without labels is written as by earlier versions, which do not know the key.
        del data["labels"]
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(data, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())


class _AnyFormat(BaseModel):
    """The format number of a manifest of any version."""

    model_config = ConfigDict(strict=True)

    format: int


@cache
def _manifest_type() -> TypeAdapter[StoreInfo]:
    return TypeAdapter(StoreInfo)


def read_manifest(folder: Path) -> StoreInfo:
    """Return the manifest of a store. Raises UserError if it is damaged or of another format."""
    manifest = folder / MANIFEST
    try:
        content = read_bytes(manifest, limit=_MANIFEST_BYTES)
        number = parse_json(content, _AnyFormat).format
        if number != FORMAT:
            raise UserError(
                f"{manifest}: the store has format {number}, but this version of ptm "
                f"reads format {FORMAT}. Remove {folder} and run `ptm preprocess RECIPE` again."
            )
        info = parse_json_as(content, _manifest_type())
    except (OSError, FileContentError) as error:
        raise _damaged(folder, reason_of(error)) from error
    token_type = "<u2" if max(info.vocabulary_size, info.target_size) <= 2**16 else "<u4"
    for shard in info.shards:
        if not _SHARD_NAME.fullmatch(shard.file):
            raise _damaged(folder, f"it names the file {json.dumps(shard.file)}")
        problem = layout_problem(shard, token_type=token_type)
        if problem is not None:
            raise _damaged(folder, f"{shard.file}: {problem}")
    if not info.shards or len({shard.file for shard in info.shards}) != len(info.shards):
        raise _damaged(folder, "it names no shard, or one shard twice")
    return info


def _damaged(folder: Path, reason: str) -> UserError:
    advice = f"Remove {folder} and run `ptm preprocess RECIPE` again."
    if not (folder / MARKER).exists():
        # The folder may be the user's.
        advice = f"If {folder} is a store of ptm, remove it and run `ptm preprocess RECIPE` again; "
        advice += "otherwise set another path."
    return UserError(f"{folder / MANIFEST}: the file is damaged ({reason}). {advice}")


class TokenStore:
    """An opened store. All token positions are global, as if the shards were concatenated."""

    def __init__(self, folder: Path, info: StoreInfo) -> None:
        self.folder = folder
        self.info = info
        counts = [shard.tokens for shard in info.shards]
        # Global position of each shard's first token; the last entry is T.
        self._shard_starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._shards: dict[int, ShardFile] = {}
        self._lock: BinaryIO | None = None

    @classmethod
    def open(cls, folder: str | Path, *, key: str = "data.store") -> TokenStore:
        """Open a store. `key` is the recipe key of its path, for messages.

        Raises UserError if the store is missing, damaged or of another format.
        """
        folder = Path(folder)
        manifest = folder / MANIFEST
        if not manifest.exists():
            what = "does not exist" if not folder.exists() else f"has no {MANIFEST}"
            raise UserError(
                f'{key}: "{folder}" {what}. Create the store with `ptm preprocess RECIPE`.'
            )
        store = cls(folder, read_manifest(folder))
        store._check_sizes()
        return store

    def _check_sizes(self) -> None:
        for shard in self.info.shards:
            path = self.folder / shard.file
            found = path.stat().st_size if path.is_file() else None
            if found != shard.bytes:
                state = "the shard is missing" if found is None else f"the shard has {found} bytes"
                raise UserError(
                    f"{path}: {state} (expected: {shard.bytes} bytes). The store is damaged. "
                    f"Remove {self.folder} and run `ptm preprocess RECIPE` again."
                )

    def hold(self) -> None:
        """Open all shards, and share a lock that `ptm preprocess --fresh` respects.

        From now on the store that was opened is read, even if another one takes its place. Raises
        UserError if a shard cannot be read.
        """
        if self._lock is None:
            self._lock = share_lock(self.folder)
        allow_open_files(len(self.info.shards))
        for index in range(len(self.info.shards)):
            self._shard(index)
        if read_manifest(self.folder) != self.info:
            raise UserError(
                f"{self.folder}: the store was replaced while it was opened. Try again."
            )

    def verify(self, *, limit: int | None = None, part: int = 0, parts: int = 1) -> None:
        """Verify the checksums of all shards. Raises UserError naming the first that differs.

        `limit`: bytes to verify; of a larger store, shards are drawn at random. `part` of `parts`:
        this process's share.
        """
        self.verify_manifest()
        allow_open_files(len(self.info.shards))
        mine = list(range(len(self.info.shards)))[part::parts]
        if limit is not None and sum(shard.bytes for shard in self.info.shards) > limit:
            random.SystemRandom().shuffle(mine)
            sizes = np.cumsum([self.info.shards[index].bytes for index in mine])
            mine = mine[: max(1, int((sizes <= limit // parts).sum()))]
        for index in mine:
            self._shard(index).verify()

    def verify_manifest(self) -> None:
        """Raise UserError if the manifest is not the one that was written with the store."""
        marker = read_marker(self.folder)
        content = read_bytes(self.folder / MANIFEST, limit=_MANIFEST_BYTES)
        if marker is not None and marker.id != hashlib.blake2b(content, digest_size=16).hexdigest():
            raise _damaged(self.folder, f"its checksum differs from that in {MARKER}")

    def _shard(self, index: int) -> ShardFile:
        if index not in self._shards:
            info = self.info.shards[index]
            self._shards[index] = ShardFile(self.folder / info.file, info, store=self.folder)
        return self._shards[index]

    def _section(self, index: int, name: str) -> NDArray[Any]:
        """One section of a shard, memory-mapped, of a file that has not changed."""
        shard = self._shard(index)
        shard.check_unchanged()
        return shard.section(name)

    def _ends(self, index: int) -> tuple[I64, I64]:
        """The ends of sentences (in tokens) and of documents (in sentences) of a shard."""
        info = self.info.shards[index]
        ends = []
        for name, last in (("sentence_ends", info.tokens), ("document_ends", info.sentences)):
            found = np.asarray(self._section(index, name))
            if found[-1] != last or found[0] < 1 or (np.diff(found) < 1).any():
                raise UserError(
                    f"{self.folder / info.file}: {name} are not ascending. The store is damaged. "
                    f"Remove {self.folder} and run `ptm preprocess RECIPE` again."
                )
            ends.append(found)
        return ends[0], ends[1]

    def _concatenated(self, name: str) -> NDArray[Any]:
        return np.concatenate([self._section(i, name) for i in range(len(self.info.shards))])

    @cached_property
    def document_ranges(self) -> tuple[I64, I64]:
        """Start (D, global) and length (D) in tokens per document."""
        starts, lengths = [], []
        for index in range(len(self.info.shards)):
            sentence_ends, document_ends = self._ends(index)
            ends = sentence_ends[document_ends - 1]
            begins = np.concatenate([[0], ends[:-1]]).astype(np.int64)
            starts.append(begins + self._shard_starts[index])
            lengths.append(ends - begins)
        return np.concatenate(starts), np.concatenate(lengths)

    @property
    def sentence_ranges(self) -> tuple[I64, I64, I64]:
        """Start (S, global) and length (S) in tokens per sentence; sentences per document (D)."""
        starts, lengths, counts = [], [], []
        for index in range(len(self.info.shards)):
            ends, document_ends = self._ends(index)
            begins = np.concatenate([[0], ends[:-1]]).astype(np.int64)
            starts.append(begins + self._shard_starts[index])
            lengths.append(ends - begins)
            counts.append(np.diff(document_ends, prepend=0))
        return np.concatenate(starts), np.concatenate(lengths), np.concatenate(counts)

    @cached_property
    def document_hashes(self) -> NDArray[np.uint64]:
        """Hash of every document's token ids (D); equal documents have equal hashes."""
        return self._concatenated("document_hashes")

    @cached_property
    def labels(self) -> I64:
        """Class index of every document (D). Raises UserError if the store has no labels."""
        if self.info.labels is None:
            raise UserError(f"{self.folder}: the store has no labels.")
        return self._concatenated("labels").astype(np.int64)

    def tokens(self, starts: I64, lengths: I64) -> I64:
        """Token ids of R ranges, concatenated (sum of `lengths`).

        `starts` (R) are global; no range may cross a shard boundary. Raises UserError if an id is
        not in the vocabulary, which means that the store is damaged.
        """
        tokens = self._gather("tokens", starts, lengths)
        self.check_token_ids(tokens, max(self.info.vocabulary_size, self.info.target_size))
        return tokens

    def check_token_ids(self, tokens: I64, vocabulary_size: int) -> None:
        """Raise UserError if an id is not below `vocabulary_size`."""
        if tokens.size and int(tokens.max()) >= vocabulary_size:
            raise UserError(
                f"{self.folder}: the store contains token id {int(tokens.max())}, but its "
                f"vocabulary has {vocabulary_size} tokens. The store is damaged. Remove it and "
                "run `ptm preprocess RECIPE` again (`ptm validate RECIPE --inputs` compares all "
                "checksums)."
            )

    def word_starts(self, starts: I64, lengths: I64) -> NDArray[np.bool_]:
        """Whether each token of R ranges starts a word, concatenated (sum of `lengths`)."""
        return self._gather("word_starts", starts, lengths).astype(bool)

    def _gather(self, name: str, starts: I64, lengths: I64) -> I64:
        """The values of a section with one entry per token, for R ranges (sum of `lengths`)."""
        gathered = np.empty(int(lengths.sum()), dtype=np.int64)
        ends = np.cumsum(lengths)
        # The shard of each range (R): ranges never cross shard boundaries.
        owner = np.searchsorted(self._shard_starts, starts, side="right") - 1
        for shard in np.unique(owner[lengths > 0]):
            in_shard = owner == shard
            # Positions of the values in the shard, and in the result.
            source = ragged_ranges(starts[in_shard] - self._shard_starts[shard], lengths[in_shard])
            target = ragged_ranges((ends - lengths)[in_shard], lengths[in_shard])
            section = self._section(int(shard), name)
            if name == "word_starts":
                # packbits puts the first token into the highest bit of a byte.
                bits = section[source >> 3] >> (7 - (source & 7)).astype(np.uint8)
                gathered[target] = bits & 1
            else:
                gathered[target] = section[source]
        return gathered


def share_lock(folder: Path) -> BinaryIO:
    """Open and share-lock the manifest of a store; the lock ends when the file is closed.

    Works on read-only filesystems. Raises UserError if the manifest cannot be read.
    """
    try:
        file = (folder / MANIFEST).open("rb")
    except OSError as error:
        raise _damaged(folder, reason_of(error)) from error
    # On a filesystem without locks, opened shards still protect this process.
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH)
    return file


def is_in_use(folder: Path) -> bool:
    """Whether another process holds the store at `folder` (see `TokenStore.hold`)."""
    manifest = folder / MANIFEST
    try:
        # NFS gives an exclusive lock only on a file that is open for writing.
        with manifest.open("r+b" if os.access(manifest, os.W_OK) else "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def document_hashes(tokens: NDArray[Any], ends: Sequence[int] | I64) -> NDArray[np.uint64]:
    """A 64-bit hash of the token ids of each document (D).

    `tokens` (T) are the documents concatenated; `ends` (D) are the offsets of their ends.
    """
    data, width, begin = tokens.tobytes(), tokens.dtype.itemsize, 0
    hashes = np.empty(len(ends), dtype=np.uint64)
    for index, end in enumerate(ends):
        digest = hashlib.blake2b(data[begin * width : int(end) * width], digest_size=8).digest()
        hashes[index] = int.from_bytes(digest, "little")
        begin = int(end)
    return hashes
