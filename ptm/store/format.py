"""The manifest of a token store: written once by `ptm preprocess`, read by every training.

A store is a folder with `store.json` and one file per shard. A shard has the documents of one
corpus block: token ids, lengths of sentences and documents, one hash per document and, if a recipe
needs them, word starts. A pair is a document of two sentences: source, then target. A triplet has
three or more: anchor, positive, negatives. A labelled document has one or two sentences (its
texts), and a class index or several. A tagged document is
one sentence of words, and has a tag at the first token of each word. A document of layout
`questions` is the context and its questions, one sentence each, with what
`ptm.store.question_arrays` adds. One of layout `choices` is the context, and the question with each
of its choices; its class index is the number of the right choice.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, TypeAdapter

from ptm.errors import UserError
from ptm.files.kinds import MARKER
from ptm.files.reading import MEGABYTE, FileContentError, read_bytes, reason_of
from ptm.files.records import parse_json, parse_json_as
from ptm.store.sections import FORMAT, SECTIONS, ShardInfo, layout_problem

MANIFEST = "store.json"
MANIFEST_BYTES = 512 * MEGABYTE
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
    """Number of documents per label, in the order of the classes, with layout `labelled`; of words
    per tag with layout `tagged`."""
    ignored_labels: tuple[str, ...] = ()
    """Labels whose documents were left out, with layout `labelled`."""
    tag_scheme: str | None = None
    """The scheme of the tags with layout `tagged`."""
    label_separator: str | None = None
    """What separated the labels of a text in the corpus, if a text may have several."""

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


def write_manifest(folder: Path, info: StoreInfo) -> None:
    """Write `store.json` and sync it to disk."""
    data = asdict(info)
    if info.labels is None:
        # A store without labels is written as by earlier versions, which do not know the key.
        del data["labels"]
    if not info.ignored_labels:
        del data["ignored_labels"]
    for key in ("tag_scheme", "label_separator"):
        if data[key] is None:
            del data[key]
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
        content = read_bytes(manifest, limit=MANIFEST_BYTES)
        number = parse_json(content, _AnyFormat).format
        if number not in SECTIONS:
            raise UserError(
                f"{manifest}: the store has format {number}, but this version of ptm reads the "
                f"formats 1 to {FORMAT}. Remove {folder} and run `ptm preprocess RECIPE` again."
            )
        info = parse_json_as(content, _manifest_type())
    except (OSError, FileContentError) as error:
        raise damaged_manifest(folder, reason_of(error)) from error
    token_type = "<u2" if max(info.vocabulary_size, info.target_size) <= 2**16 else "<u4"
    for shard in info.shards:
        if not _SHARD_NAME.fullmatch(shard.file):
            raise damaged_manifest(folder, f"it names the file {json.dumps(shard.file)}")
        problem = layout_problem(shard, number=info.format, token_type=token_type)
        if problem is not None:
            raise damaged_manifest(folder, f"{shard.file}: {problem}")
    if not info.shards or len({shard.file for shard in info.shards}) != len(info.shards):
        raise damaged_manifest(folder, "it names no shard, or one shard twice")
    return info


def damaged_manifest(folder: Path, reason: str) -> UserError:
    """The error for a manifest that is damaged; `reason` completes "the file is damaged"."""
    advice = f"Remove {folder} and run `ptm preprocess RECIPE` again."
    if not (folder / MARKER).exists():
        # The folder may be the user's.
        advice = f"If {folder} is a store of ptm, remove it and run `ptm preprocess RECIPE` again; "
        advice += "otherwise set another path."
    return UserError(f"{folder / MANIFEST}: the file is damaged ({reason}). {advice}")
