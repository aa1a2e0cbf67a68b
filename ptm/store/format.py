"""The token store: written once by `ptm preprocess`, memory-mapped by every training.

A store is a folder with `store.json` and one file per shard. A shard has the documents of one
corpus block: token ids, ends of sentences and documents, one hash per document and, if a recipe
needs them, word starts. Documents are concatenated, so that a document (or a part of it) is a range
of global token positions. A pair is a document of two sentences: source, then target. A labelled
document has one or two sentences (its texts), and a class index.

Shape letters: T tokens, S sentences and D documents of the store; R ranges of tokens.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, ragged_ranges
from ptm.errors import UserError

FORMAT = 1
MANIFEST = "store.json"


# Sections of a shard, with offsets relative to the shard:
# tokens: token ids, uint16 or uint32
# sentence_ends: int64 per sentence, number of tokens up to its end
# document_ends: int64 per document, number of sentences up to its end; a pair has two sentences
# document_hashes: uint64 per document, hash of its token ids
# labels: int32 per document, its class index (only with layout labelled)
# word_starts: one bit per token, packed: whether the token starts a word (only with a segmenter)


@dataclass(frozen=True)
class Section:
    """Position of an array in a shard's file."""

    name: str
    dtype: str
    count: int
    """Number of items."""
    offset: int
    """Bytes from the start of the file."""


@dataclass(frozen=True)
class ShardInfo:
    """The manifest's entry of one shard."""

    file: str
    bytes: int
    blake2b: str
    """Checksum of the whole file, in hex."""
    documents: int
    sentences: int
    tokens: int
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class StoreInfo:
    """The manifest of a store, `store.json`."""

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


def shard_from_json(data: Mapping[str, Any]) -> ShardInfo:
    """Rebuild a `ShardInfo` from the output of `dataclasses.asdict`."""
    return ShardInfo(**{**data, "sections": tuple(Section(**s) for s in data["sections"])})


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


class TokenStore:
    """An opened store. All token positions are global, as if the shards were concatenated."""

    def __init__(self, folder: Path, info: StoreInfo) -> None:
        self.folder = folder
        self.info = info
        counts = [shard.tokens for shard in info.shards]
        # Global position of each shard's first token; the last entry is T.
        self._shard_starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._maps: dict[tuple[int, str], NDArray[Any]] = {}

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
        try:
            data = json.loads(manifest.read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise UserError(
                    f"{manifest}: the store has format {data['format']}, but this version of ptm "
                    f"reads format {FORMAT}. Remove {folder} and run `ptm preprocess RECIPE` "
                    "again."
                )
            shards = tuple(shard_from_json(shard) for shard in data["shards"])
            info = StoreInfo(**{**data, "shards": shards, "corpus": tuple(data["corpus"])})
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{manifest}: the file is damaged ({error}). Remove {folder} and run `ptm "
                "preprocess RECIPE` again."
            ) from error
        store = cls(folder, info)
        store._check_sizes()
        return store

    def _check_sizes(self) -> None:
        for shard in self.info.shards:
            path = self.folder / shard.file
            found = path.stat().st_size if path.exists() else None
            if found != shard.bytes:
                state = "the shard is missing" if found is None else f"the shard has {found} bytes"
                raise UserError(
                    f"{path}: {state} (expected: {shard.bytes} bytes). The store is damaged. "
                    f"Remove {self.folder} and run `ptm preprocess RECIPE` again."
                )

    def verify(self) -> None:
        """Verify the checksums of all shards. Raises UserError naming the first that differs."""
        for shard in self.info.shards:
            path = self.folder / shard.file
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
            if digest.hexdigest() != shard.blake2b:
                raise UserError(
                    f"{path}: the checksum differs from the manifest. The store is damaged. "
                    f"Remove {self.folder} and run `ptm preprocess RECIPE` again."
                )

    def _section(self, shard: int, name: str) -> NDArray[Any]:
        """Memory map of one section of a shard. An empty section cannot be mapped."""
        if (shard, name) not in self._maps:
            info = self.info.shards[shard]
            section = next(s for s in info.sections if s.name == name)
            path = self.folder / info.file
            self._maps[shard, name] = (
                np.memmap(path, section.dtype, "r", section.offset, (section.count,))
                if section.count
                else np.empty(0, section.dtype)
            )
        return self._maps[shard, name]

    def _concatenated(self, name: str) -> NDArray[Any]:
        return np.concatenate([self._section(i, name) for i in range(len(self.info.shards))])

    @cached_property
    def document_ranges(self) -> tuple[I64, I64]:
        """Start (D, global) and length (D) in tokens per document."""
        starts, lengths = [], []
        for index in range(len(self.info.shards)):
            sentence_ends = self._section(index, "sentence_ends")
            last_sentence = np.asarray(self._section(index, "document_ends")) - 1
            ends = np.asarray(sentence_ends)[last_sentence]
            begins = np.concatenate([[0], ends[:-1]]).astype(np.int64)
            starts.append(begins + self._shard_starts[index])
            lengths.append(ends - begins)
        return np.concatenate(starts), np.concatenate(lengths)

    @property
    def sentence_ranges(self) -> tuple[I64, I64, I64]:
        """Start (S, global) and length (S) in tokens per sentence; sentences per document (D)."""
        starts, lengths, counts = [], [], []
        for index in range(len(self.info.shards)):
            ends = np.asarray(self._section(index, "sentence_ends"))
            begins = np.concatenate([[0], ends[:-1]]).astype(np.int64)
            starts.append(begins + self._shard_starts[index])
            lengths.append(ends - begins)
            counts.append(np.diff(self._section(index, "document_ends"), prepend=0))
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
