"""Corpus to token store: read once, tokenised by several processes, resumed after a stop.

The corpus is cut into blocks of whole documents, each of which becomes one shard. Workers read and
tokenise the parts of the corpus that the parent process names. Memory is bounded by the number of
blocks at work, whatever the size of the corpus. Shards are written to `STORE.partial/`, which is
renamed to `STORE` when all of them are finished.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptm.errors import UserError
from ptm.files.locks import open_lock
from ptm.store.encode import BlockCounts, BlockTokenizer
from ptm.store.finished import FinishedBlock
from ptm.store.format import MANIFEST, StoreInfo, write_manifest
from ptm.store.parts import tasks_of
from ptm.store.reader import TokenStore
from ptm.store.sections import ShardInfo
from ptm.store.staging import (
    check_partial_folder,
    check_store_folder,
    clear_on_user_error,
    make_folder,
    matching_manifest,
    publish,
    resume_or_clear,
)
from ptm.store.totals import check_corpus, label_counts, totals
from ptm.store.workers import TokenizerPool
from ptm.text.corpus import CorpusFile, CorpusReader, Layout
from ptm.text.labelled_lines import columns_of
from ptm.text.labels import LabelSet, MultiLabelSet
from ptm.text.segmenters import Segmenter
from ptm.text.tags import TagSet
from ptm.text.tokenizers import Tokenizer, TokenizerConfig

# Blocks are large enough to be worth a shard, small enough to keep all workers busy.
_SMALLEST_BLOCK = 2**18
_LARGEST_BLOCK = 2**24
_BLOCKS = 64


@dataclass(frozen=True)
class PreprocessingProgress:
    """Progress of preprocessing: totals so far, and seconds since the start."""

    bytes_read: int
    bytes_total: int
    documents: int
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Preprocessing:
    """All settings that determine the content of a store."""

    corpus: tuple[CorpusFile, ...]
    layout: Layout
    tokenizer: TokenizerConfig
    segmenter: Segmenter | None
    sentence_splitting: bool = False
    """Whether to split the documents of layout `documents` into sentences."""
    target_tokenizer: TokenizerConfig | None = None
    """Tokenizer of the targets with layout `pairs`; None: `tokenizer`."""
    labels: LabelSet | None = None
    """The labels of layout `labelled`, the TagSet of `tagged`; None with any other layout."""

    def encoder(self) -> BlockTokenizer:
        """The encoder that turns blocks into shards; called once per worker process."""
        return BlockTokenizer(
            self.tokenizer,
            self.segmenter,
            self.layout,
            sentence_splitting=self.sentence_splitting,
            target_tokenizer=self.target_tokenizer,
            labels=self.labels,
        )

    @property
    def tag_scheme(self) -> str | None:
        """The scheme of the tags of layout `tagged`."""
        return self.labels.scheme if isinstance(self.labels, TagSet) else None

    @property
    def label_separator(self) -> str | None:
        """What separates the labels of a text, if it may have several."""
        return self.labels.separator if isinstance(self.labels, MultiLabelSet) else None

    @property
    def ignored_labels(self) -> tuple[str, ...]:
        """The labels of layout `labelled` whose documents are left out."""
        return self.labels.ignored if self.labels is not None else ()

    @property
    def block_bytes(self) -> int:
        """Block size in bytes. Depends on the corpus alone, and with it the cut into shards."""
        total = sum(file.bytes for file in self.corpus)
        return int(np.clip(total // _BLOCKS, _SMALLEST_BLOCK, _LARGEST_BLOCK))

    def readers(self) -> Iterator[CorpusReader]:
        """Yield a reader of each file, in order."""
        size = self.block_bytes
        for index, file in enumerate(self.corpus):
            yield CorpusReader(file, index=index, layout=self.layout, block_bytes=size)

    def fingerprint_inputs(self, tokenizer: Tokenizer, target: Tokenizer | None) -> dict[str, Any]:
        """The settings and inputs as JSON values; equal descriptions give equal stores."""
        return {
            "tokenizer": tokenizer.fingerprint,
            "target_tokenizer": target.fingerprint if target else None,
            "layout": self.layout,
            "segmenter": self.segmenter.model_dump() if self.segmenter else None,
            "sentence_splitting": self.sentence_splitting,
            **({"labels": list(self.labels.names)} if self.labels else {}),
            **({"ignored_labels": list(ignored)} if (ignored := self.ignored_labels) else {}),
            **({"tag_scheme": scheme} if (scheme := self.tag_scheme) else {}),
            **({"label_separator": one} if (one := self.label_separator) else {}),
            "corpus": [file.entry() for file in self.corpus],
        }


def preprocess(
    work: Preprocessing,
    store: Path,
    *,
    workers: int,
    fresh: bool,
    report: Callable[[PreprocessingProgress], None],
    check: Callable[[StoreInfo], None] = lambda info: None,
) -> StoreInfo:
    """Create `store` and return its manifest; return at once if it exists with the same content.

    A stopped run is resumed. `fresh` discards an existing store and a stopped run. `report` is
    called after every shard, `check` with the manifest before the store appears under its name; it
    may raise UserError. Raises UserError if the corpus is empty or not text, if `store` exists
    with other content (unless `fresh`), or if another process is writing it.
    """
    tokenizer = work.tokenizer.load()
    target = work.target_tokenizer.load(key="target_tokenizer") if work.target_tokenizer else None
    description = work.fingerprint_inputs(tokenizer, target)
    if (store / MANIFEST).exists() and not fresh:
        return matching_manifest(store, description)
    partial = store.with_name(store.name + ".partial")
    check_store_folder(store)
    check_partial_folder(partial)
    make_folder(partial)
    with open_lock(partial / "lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"{partial}: another `ptm preprocess` is writing to this folder. Wait until it "
                "has finished."
            ) from error
        with clear_on_user_error(partial):
            resume_or_clear(partial, description, fresh=fresh)
            shards, counts = _encode_all(work, partial, workers=workers, report=report)
            tokens = sum(shard.tokens for shard in shards)
            pairs = work.layout == "pairs"
            documents = sum(shard.documents for shard in shards)
            check_corpus(
                work.corpus, counts, tokens=tokens, documents=documents, layout=work.layout
            )
            info = StoreInfo(
                tokenizer=tokenizer.fingerprint,
                vocabulary_size=tokenizer.vocabulary.size,
                layout=work.layout,
                segmenter=description["segmenter"],
                shards=tuple(shard for shard in shards if shard.documents),
                corpus=tuple(description["corpus"]),
                report=totals(
                    counts, pairs_of=tokens if pairs else None, tagged=work.layout == "tagged"
                ),
                sentence_splitting=work.sentence_splitting,
                target_tokenizer=description["target_tokenizer"],
                target_vocabulary_size=target.vocabulary.size if target else None,
                labels=label_counts(work.labels, counts),
                ignored_labels=work.ignored_labels,
                tag_scheme=work.tag_scheme,
                label_separator=work.label_separator,
            )
            check(info)
            write_manifest(partial, info)
            publish(partial, store, info)
    return info


def is_current(work: Preprocessing, store: Path) -> bool:
    """Whether `store` is an undamaged store with the content that `work` gives it."""
    tokenizer = work.tokenizer.load()
    target = work.target_tokenizer.load(key="target_tokenizer") if work.target_tokenizer else None
    try:
        matching_manifest(store, work.fingerprint_inputs(tokenizer, target))
        TokenStore.open(store).verify()
    except UserError:
        return False
    return True


def _encode_all(
    work: Preprocessing,
    partial: Path,
    *,
    workers: int,
    report: Callable[[PreprocessingProgress], None],
) -> tuple[list[ShardInfo], list[BlockCounts]]:
    """Encode all blocks; return their shards and counts in the order of the corpus."""
    began, total = time.perf_counter(), sum(file.bytes for file in work.corpus)
    done: dict[tuple[int, int], FinishedBlock] = {}
    read = dict.fromkeys(range(len(work.corpus)), 0)
    bytes_read = documents = tokens = 0

    def record(block: FinishedBlock) -> None:
        nonlocal bytes_read, documents, tokens
        done[block.file, block.number] = block
        documents += block.shard.documents
        tokens += block.shard.tokens
        # Blocks may finish in another order.
        bytes_read += max(0, block.bytes_read - read[block.file])
        read[block.file] = max(read[block.file], block.bytes_read)
        seconds = time.perf_counter() - began
        report(PreprocessingProgress(bytes_read, total, documents, tokens, seconds))

    if not any(file.compressed for file in work.corpus):
        # A small corpus is encoded sooner than a worker process starts.
        workers = max(1, min(workers, total // _SMALLEST_BLOCK))
    readers = work.readers()
    if work.layout == "labelled" and work.labels is not None:
        readers = _with_same_columns(readers, work.labels)
    tasks = tasks_of(readers, largest_file=max(work.block_bytes, total // workers))
    with TokenizerPool(work.encoder, partial, workers=workers) as encoders:
        encoders.run(tasks, record)
    ordered = [done[key] for key in sorted(done)]
    return [block.shard for block in ordered], [block.counts for block in ordered]


def _with_same_columns(readers: Iterable[CorpusReader], labels: LabelSet) -> Iterator[CorpusReader]:
    """Yield the readers of labelled files; raise UserError if a file has other columns.

    Reads the first lines of each file.
    """
    first: tuple[str, int] | None = None
    for reader in readers:
        path, found = reader.file.path, _texts_per_document(reader.file, labels)
        if found is not None:
            texts, place = found
            first = first or (path, texts)
            if texts != first[1]:
                raise UserError(
                    f"{place}: the file has {_TEXTS[texts]}, but {first[0]} has "
                    f"{_TEXTS[first[1]]}. Give the files of a corpus the same columns."
                )
        yield reader


def _texts_per_document(file: CorpusFile, labels: LabelSet) -> tuple[int, str] | None:
    """1 or 2, and the place that says so; None if the file does not begin with a line of text."""
    if file.fields:
        return len(file.fields) - 1, file.path
    reader = CorpusReader(file, index=0, layout="labelled", block_bytes=_SMALLEST_BLOCK)
    block = next(reader.blocks(), None)
    if block is None or block.opening is None:
        return None
    texts = columns_of(file.path, block.opening, labels).texts
    return len(texts), f"{file.path}:{block.opening.number}"


_TEXTS = {1: "single texts", 2: "pairs of texts"}
