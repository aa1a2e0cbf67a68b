"""Corpus to token store: read once, tokenised by several processes, resumed after a stop.

The parent process reads blocks of whole documents and passes them to workers; each block becomes
one shard. Memory is bounded by the number of blocks in flight, whatever the size of the corpus.
Shards are written to `STORE.partial/`, which is renamed to `STORE` when all of them are finished.
"""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptm.errors import UserError
from ptm.files.locks import open_lock
from ptm.store.encode import BlockCounts, BlockTokenizer, finished_shard
from ptm.store.format import MANIFEST, StoreInfo, write_manifest
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
from ptm.store.workers import TokenizerPool
from ptm.text.corpus import Block, CorpusFile, CorpusReader, Layout, check_invalid
from ptm.text.corpus.checks import InvalidLines
from ptm.text.labelled_lines import columns_of
from ptm.text.labels import LabelSet
from ptm.text.segmenters import Segmenter
from ptm.text.tokenizers import Tokenizer, TokenizerConfig

logger = logging.getLogger(__name__)

# Blocks are large enough to be worth sending to a process, small enough to keep all workers busy.
_SMALLEST_BLOCK = 2**18
_LARGEST_BLOCK = 2**24
_BLOCKS = 64
_MANY_LINES = 1000
"""A document of this many lines, without a second one, means that the layout is wrong."""


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
    """The labels of layout `labelled`; None with any other layout."""

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
    def block_bytes(self) -> int:
        """Block size in bytes. Depends on the corpus alone, and with it the cut into shards."""
        total = sum(file.bytes for file in self.corpus)
        return int(np.clip(total // _BLOCKS, _SMALLEST_BLOCK, _LARGEST_BLOCK))

    def fingerprint_inputs(self, tokenizer: Tokenizer, target: Tokenizer | None) -> dict[str, Any]:
        """The settings and inputs as JSON values; equal descriptions give equal stores."""
        return {
            "tokenizer": tokenizer.fingerprint,
            "target_tokenizer": target.fingerprint if target else None,
            "layout": self.layout,
            "segmenter": self.segmenter.model_dump() if self.segmenter else None,
            "sentence_splitting": self.sentence_splitting,
            **({"labels": list(self.labels.names)} if self.labels else {}),
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
                report=_totals(counts, pairs_of=tokens if pairs else None),
                sentence_splitting=work.sentence_splitting,
                target_tokenizer=description["target_tokenizer"],
                target_vocabulary_size=target.vocabulary.size if target else None,
                labels=_label_counts(work.labels, counts),
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
    done: dict[tuple[int, int], tuple[ShardInfo, BlockCounts]] = {}
    read_before = np.concatenate([[0], np.cumsum([file.bytes for file in work.corpus])])
    documents = tokens = 0

    def record(block: Block, result: tuple[ShardInfo, BlockCounts]) -> None:
        nonlocal documents, tokens
        done[block.file, block.number] = result
        documents += result[0].documents
        tokens += result[0].tokens
        read = int(read_before[block.file]) + block.bytes_read
        report(PreprocessingProgress(read, total, documents, tokens, time.perf_counter() - began))

    # A small corpus is encoded sooner than a worker process starts.
    small = total < 2 * _SMALLEST_BLOCK and not any(file.compressed for file in work.corpus)
    with TokenizerPool(work.encoder, partial, workers=1 if small else workers) as encoders:
        for block in blocks_of(work):
            finished = finished_shard(partial, block)
            if finished is not None:
                record(block, finished)
            else:
                encoders.submit(block, record)
        encoders.drain(record)
    ordered = [done[key] for key in sorted(done)]
    return [shard for shard, _ in ordered], [counts for _, counts in ordered]


def blocks_of(work: Preprocessing) -> Iterator[Block]:
    """Yield the blocks of all files in order.

    Raises UserError if labelled files have different columns.
    """
    first: tuple[str, int] | None = None
    for index, file in enumerate(work.corpus):
        reader = CorpusReader(file, index=index, layout=work.layout, block_bytes=work.block_bytes)
        for block in reader.blocks():
            texts = _texts_per_document(block, work.labels) if block.number == 0 else None
            if texts is not None:
                first = first or (block.path, texts)
                if texts != first[1]:
                    line = f":{block.opening.number}" if block.opening else ""
                    raise UserError(
                        f"{block.path}{line}: the file has {_TEXTS[texts]}, but "
                        f"{first[0]} has {_TEXTS[first[1]]}. Give the files of a corpus the same "
                        "columns."
                    )
            yield block


def _texts_per_document(block: Block, labels: LabelSet | None) -> int | None:
    """1 or 2 for the first block of a labelled file, None without labels or without text."""
    if labels is None:
        return None
    if block.records is not None:
        return len(block.records.fields) - 1
    return len(columns_of(block.path, block.opening, labels).texts) if block.opening else None


_TEXTS = {1: "single texts", 2: "pairs of texts"}


def _label_counts(labels: LabelSet | None, counts: Sequence[BlockCounts]) -> dict[str, int] | None:
    """The number of documents per label, in the order of the classes; None without labels."""
    if labels is None:
        return None
    totals = np.array([c.labels for c in counts]).sum(axis=0).tolist()
    return dict(zip(labels.names, totals, strict=True))


def _totals(counts: Sequence[BlockCounts], *, pairs_of: int | None) -> dict[str, int]:
    """The manifest's `report`. `pairs_of`: the number of tokens with layout `pairs`, else None."""
    lines = {
        "lines": sum(c.lines for c in counts),
        "blank_lines": sum(c.blank for c in counts),
        "invalid_lines": sum(c.invalid for c in counts),
        "text_bytes": sum(c.text_bytes for c in counts),
        "unknown_tokens": sum(c.unknown_tokens for c in counts),
    }
    ignored = sum(c.ignored for c in counts)
    if ignored:
        lines["ignored_labels"] = ignored
    empty = sum(c.empty_documents for c in counts)
    if pairs_of is None:
        return {**lines, "empty_documents": empty}
    sources = sum(c.source_tokens for c in counts)
    sides = {"source_tokens": sources, "target_tokens": pairs_of - sources}
    return {**lines, "pairs_with_an_empty_side": empty, **sides}


def check_corpus(
    corpus: Sequence[CorpusFile],
    counts: Sequence[BlockCounts],
    *,
    tokens: int,
    documents: int,
    layout: Layout,
) -> None:
    """Raise UserError if a file has too many damaged lines or the corpus has no text.

    Also if it has a single document of many lines. Logs which lines were left out.
    """
    for index, file in enumerate(corpus):
        note = check_invalid(file, _invalid_lines([c for c in counts if c.file == index]))
        if note is not None:
            logger.warning("%s", note)
    if tokens == 0:
        paths = ", ".join(file.path for file in corpus)
        empty = sum(c.empty_documents for c in counts)
        if layout == "pairs" and empty:
            raise UserError(f"{paths}: none of the {empty:,} pairs has text on both sides.")
        if layout == "labelled":
            raise UserError(f"{paths}: the corpus contains no labelled text.")
        raise UserError(f"{paths}: the corpus contains no text, only blank lines.")
    lines = sum(c.lines - c.blank for c in counts)
    plain = all(file.format == "text" for file in corpus)
    if layout == "sentences" and plain and documents == 1 and lines >= _MANY_LINES:
        raise UserError(
            f"{corpus[0].path}: the {lines:,} lines of the corpus are one document, because with "
            "data.layout: sentences an empty line ends a document, but none was found. If each "
            "line is a document, set data.layout: documents."
        )


def _invalid_lines(counts: Sequence[BlockCounts]) -> InvalidLines:
    """The lines of a file that were left out; `counts` are those of its blocks, in order."""
    lines, first, problem = 0, 0, ""
    for block in counts:
        if block.first_invalid is not None and not first:
            first, problem = lines + block.first_invalid + 1, block.problem
        lines += block.lines
    return InvalidLines(lines, sum(block.invalid for block in counts), first, problem)
