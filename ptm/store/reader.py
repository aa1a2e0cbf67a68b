"""Reads the token stores that `ptm preprocess` wrote, memory-mapped.

Documents are concatenated, so that a document (or a part of it) is a range of global token
positions.

Shape letters: T tokens, S sentences and D documents of the store; R ranges of tokens.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.errors import UserError
from ptm.files.kinds import MARKER
from ptm.files.ownership import read_marker
from ptm.files.reading import read_bytes, reason_of
from ptm.store.format import (
    MANIFEST,
    MANIFEST_BYTES,
    StoreInfo,
    damaged_manifest,
    read_manifest,
)
from ptm.store.shards import ShardFile, allow_open_files


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
        mine = list(range(len(self.info.shards)))[part::parts]
        if limit is not None and sum(shard.bytes for shard in self.info.shards) > limit:
            random.SystemRandom().shuffle(mine)
            sizes = np.cumsum([self.info.shards[index].bytes for index in mine])
            mine = mine[: max(1, int((sizes <= limit // parts).sum()))]
        for index in mine:
            opened = self._shards.get(index)
            shard = opened or self._opened(index)
            try:
                shard.verify()
            finally:
                if opened is None:
                    shard.close()

    def verify_manifest(self) -> None:
        """Raise UserError if the manifest is not the one that was written with the store."""
        marker = read_marker(self.folder)
        content = read_bytes(self.folder / MANIFEST, limit=MANIFEST_BYTES)
        if marker is not None and marker.id != hashlib.blake2b(content, digest_size=16).hexdigest():
            raise damaged_manifest(self.folder, f"its checksum differs from that in {MARKER}")

    def _shard(self, index: int) -> ShardFile:
        if not self._shards:
            allow_open_files(self.folder, len(self.info.shards))
        if index not in self._shards:
            self._shards[index] = self._opened(index)
        return self._shards[index]

    def _opened(self, index: int) -> ShardFile:
        info = self.info.shards[index]
        return ShardFile(self.folder / info.file, info, store=self.folder)

    def _section(self, index: int, name: str) -> NDArray[Any]:
        """One section of a shard, memory-mapped, of a file that has not changed."""
        shard = self._shard(index)
        shard.check_unchanged()
        return shard.section(name)

    def _lengths(self, index: int) -> tuple[I64, I64]:
        """Tokens per sentence and sentences per document of a shard."""
        info = self.info.shards[index]
        found = []
        for what, total in (("sentence", info.tokens), ("document", info.sentences)):
            if self.info.format == 1:
                ends = self._section(index, f"{what}_ends")
                lengths = np.diff(ends, prepend=0)
            else:
                lengths = self._section(index, f"{what}_lengths").astype(np.int64)
            if lengths.min() < 1 or lengths.sum() != total:
                raise UserError(
                    f"{self.folder / info.file}: the lengths of its {what}s do not add up. The "
                    f"store is damaged. Remove {self.folder} and run `ptm preprocess RECIPE` again."
                )
            found.append(lengths)
        return found[0], found[1]

    def _concatenated(self, name: str) -> NDArray[Any]:
        return np.concatenate([self._section(i, name) for i in range(len(self.info.shards))])

    @cached_property
    def document_ranges(self) -> tuple[I64, I64]:
        """Start (D, global) and length (D) in tokens per document."""
        starts, lengths = [], []
        for index in range(len(self.info.shards)):
            sentences, documents = self._lengths(index)
            tokens = np.add.reduceat(sentences, exclusive_cumsum(documents))
            starts.append(exclusive_cumsum(tokens) + self._shard_starts[index])
            lengths.append(tokens)
        return np.concatenate(starts), np.concatenate(lengths)

    @property
    def sentence_ranges(self) -> tuple[I64, I64, I64]:
        """Start (S, global) and length (S) in tokens per sentence; sentences per document (D)."""
        starts, lengths, counts = [], [], []
        for index in range(len(self.info.shards)):
            sentences, documents = self._lengths(index)
            starts.append(exclusive_cumsum(sentences) + self._shard_starts[index])
            lengths.append(sentences)
            counts.append(documents)
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

    @cached_property
    def integers(self) -> tuple[I64, I64, I64]:
        """The integers of all documents, one after another, and each document's range in them.

        The ranges are the start (D) and the number (D).

        Raises UserError if the store has none, or if the numbers do not add up, which means that it
        is damaged.
        """
        if self.info.label_separator is None:
            raise UserError(f"{self.folder}: the store has one label per text.")
        for index, info in enumerate(self.info.shards):
            values, counts = (self._section(index, n) for n in ("integers", "integer_counts"))
            if int(counts.sum(dtype=np.int64)) != values.size:
                raise UserError(
                    f"{self.folder / info.file}: the numbers of labels do not add up. The store is "
                    f"damaged. Remove {self.folder} and run `ptm preprocess RECIPE` again."
                )
        counts = self._concatenated("integer_counts").astype(np.int64)
        return self._concatenated("integers").astype(np.int64), exclusive_cumsum(counts), counts

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

    def tags(self, starts: I64, lengths: I64) -> I64:
        """The tag of each token of R ranges, concatenated (sum of `lengths`).

        The class index + 1 at the first token of each word, 0 at others. Raises UserError if the
        store has no tags, or one that is not declared, which means that it is damaged.
        """
        if self.info.tag_scheme is None or self.info.labels is None:
            raise UserError(f"{self.folder}: the store has no tags.")
        tags = self._gather("tags", starts, lengths)
        if tags.size and int(tags.max()) > len(self.info.labels):
            raise UserError(
                f"{self.folder}: the store contains tag {int(tags.max())}, but it has "
                f"{len(self.info.labels)} tags. The store is damaged. Remove it and run "
                "`ptm preprocess RECIPE` again."
            )
        return tags

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
        raise damaged_manifest(folder, reason_of(error)) from error
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
