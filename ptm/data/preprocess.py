"""Corpus to token store: read once, tokenised by several processes, continued after a stop.

The parent reads blocks of whole documents and hands them out; each becomes one shard. Memory is
bounded by the blocks in flight whatever the size of the corpus. Shards are written under
`STORE.partial/`, and the folder gets its own name only when it is whole.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptm.data.encode import BlockEncoder, Counts, finished_shard, write_block
from ptm.data.store import MANIFEST, ShardInfo, StoreInfo, TokenStore, write_manifest
from ptm.errors import UserError
from ptm.text.corpus import Block, CorpusFile, CorpusReader, Layout
from ptm.text.segmenters import Segmenter
from ptm.text.tokenizers import Tokenizer, TokenizerConfig

# A block is large enough to be worth a process switch, small enough to keep every worker busy.
_SMALLEST_BLOCK = 2**18
_LARGEST_BLOCK = 2**25
_BLOCKS = 64
_PR_SET_PDEATHSIG = 1
_WORK = "work.json"
"""What a half-made store is made from."""
# More than this share of undecodable lines is a file in another encoding, not a flaw in a corpus.
_INVALID_SHARE = 0.01


@dataclass(frozen=True)
class Progress:
    """How far preprocessing is."""

    bytes_read: int
    bytes_total: int
    documents: int
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Preprocessing:
    """What makes a store: everything that changes its content."""

    corpus: tuple[CorpusFile, ...]
    layout: Layout
    tokenizer: TokenizerConfig
    segmenter: Segmenter | None
    sentence_splitting: bool = False
    """Whether documents are known sentence by sentence, though a line is a document."""

    def encoder(self) -> BlockEncoder:
        """What turns a block into a shard."""
        return BlockEncoder(
            self.tokenizer,
            self.segmenter,
            self.layout,
            sentence_splitting=self.sentence_splitting,
        )

    @property
    def block_bytes(self) -> int:
        """The size of a block: a function of the corpus alone, so that shards are too."""
        total = sum(file.bytes for file in self.corpus)
        return int(np.clip(total // _BLOCKS, _SMALLEST_BLOCK, _LARGEST_BLOCK))

    def description(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """What a half-made or finished store is compared with."""
        return {
            "tokenizer": tokenizer.fingerprint,
            "layout": self.layout,
            "segmenter": self.segmenter.model_dump() if self.segmenter else None,
            "sentence_splitting": self.sentence_splitting,
            "corpus": [asdict(file) for file in self.corpus],
        }


def preprocess(
    work: Preprocessing,
    store: Path,
    *,
    workers: int,
    fresh: bool,
    report: Callable[[Progress], None],
) -> StoreInfo:
    """Make `store`, or return its manifest where it is there already and made from the same.

    Raises UserError for a corpus that is not text or empty, for a store made from something else
    (unless `fresh`), and where another process is at work on the same store.
    """
    tokenizer = work.tokenizer.load()
    description = work.description(tokenizer)
    if (store / MANIFEST).exists() and not fresh:
        return _existing(store, description)
    partial = store.with_name(store.name + ".partial")
    _refuse_foreign(store, MANIFEST)
    _refuse_foreign(partial, _WORK)
    _make_folder(partial)
    with (partial / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"{partial}: another `ptm preprocess` is at work on it.") from error
        with _cleared_if_refused(partial):
            _continue_or_clear(partial, description, fresh=fresh)
            shards, counts = _encode_all(work, partial, workers=workers, report=report)
            _refuse_useless(work, counts, tokens=sum(shard.tokens for shard in shards))
            info = StoreInfo(
                tokenizer=tokenizer.fingerprint,
                vocabulary_size=tokenizer.vocabulary.size,
                layout=work.layout,
                segmenter=description["segmenter"],
                shards=tuple(shard for shard in shards if shard.documents),
                corpus=tuple(description["corpus"]),
                report=_totals(counts),
                sentence_splitting=work.sentence_splitting,
            )
            write_manifest(partial, info)
            _publish(partial, store, info)
    return info


class WorkerKilledError(UserError):
    """What is done stays good: the same command goes on from it."""


@contextmanager
def _cleared_if_refused(partial: Path) -> Iterator[None]:
    """Leave nothing of a corpus that was refused; keep what a full disk or a kill interrupted."""
    try:
        yield
    except WorkerKilledError:
        raise
    except UserError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    except OSError as error:
        raise UserError(
            f"{partial}: cannot be written: {error.strerror}. What is done is kept; run the same "
            "command again when that is mended."
        ) from error


def _refuse_foreign(folder: Path, ours: str) -> None:
    """Raise UserError where something else than our own (empty or not) folder stands."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f'data.store: "{folder}" is a file; name a folder.')
    names = {path.name for path in folder.iterdir()} - {"lock"}
    if names and ours not in names:
        raise UserError(f'data.store: "{folder}" is a folder of something else; name another.')


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'data.store: cannot make "{folder}": {error.strerror}.') from error


def _existing(store: Path, description: dict[str, Any]) -> StoreInfo:
    info = TokenStore.open(store).info
    was = {
        "tokenizer": info.tokenizer,
        "layout": info.layout,
        "segmenter": info.segmenter,
        "sentence_splitting": info.sentence_splitting,
        "corpus": list(info.corpus),
    }
    differing = [key.replace("_", " ") for key in description if was[key] != description[key]]
    if differing:
        how = " (paths, sizes and times of change are compared)" if "corpus" in differing else ""
        raise UserError(
            f'data.store: "{store}" was made with another {" and ".join(differing)}{how}. Name '
            "another store, or make this one anew with `ptm preprocess RECIPE --fresh`."
        )
    return info


def _continue_or_clear(partial: Path, description: dict[str, Any], *, fresh: bool) -> None:
    """Keep the shards of a stopped run that did the same work; clear away any other's."""
    note = partial / _WORK
    same = False
    if note.exists() and not fresh:
        try:
            same = json.loads(note.read_text(encoding="utf-8")) == description
        except ValueError:
            same = False
    if same:
        return
    for path in partial.iterdir():
        if path.name not in ("lock", _WORK):
            path.unlink()
    note.write_text(json.dumps(description, ensure_ascii=False), encoding="utf-8")


def _publish(partial: Path, store: Path, info: StoreInfo) -> None:
    belongs = {MANIFEST, *(shard.file for shard in info.shards)}
    for path in partial.iterdir():
        if path.name not in belongs:
            path.unlink()
    if store.exists():
        shutil.rmtree(store)
    partial.rename(store)
    folder = os.open(store.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _encode_all(
    work: Preprocessing, partial: Path, *, workers: int, report: Callable[[Progress], None]
) -> tuple[list[ShardInfo], list[Counts]]:
    """Encode all blocks; results in the order of the corpus."""
    began, total = time.perf_counter(), sum(file.bytes for file in work.corpus)
    done: dict[tuple[int, int], tuple[ShardInfo, Counts]] = {}
    read_before = np.concatenate([[0], np.cumsum([file.bytes for file in work.corpus])])
    documents = tokens = 0

    def note(block: Block, result: tuple[ShardInfo, Counts]) -> None:
        nonlocal documents, tokens
        done[block.file, block.number] = result
        documents += result[0].documents
        tokens += result[0].tokens
        read = int(read_before[block.file]) + block.bytes_read
        report(Progress(read, total, documents, tokens, time.perf_counter() - began))

    with _Encoders(work, partial, workers=workers) as encoders:
        for block in _blocks(work):
            finished = finished_shard(partial, block)
            if finished is not None:
                note(block, finished)
            else:
                encoders.submit(block, note)
        encoders.drain(note)
    ordered = [done[key] for key in sorted(done)]
    return [shard for shard, _ in ordered], [counts for _, counts in ordered]


def _blocks(work: Preprocessing) -> Iterator[Block]:
    for index, file in enumerate(work.corpus):
        yield from CorpusReader(
            file, index=index, layout=work.layout, block_bytes=work.block_bytes
        ).blocks()


class _Encoders:
    """Encodes blocks here (one worker) or in processes, with few blocks in flight."""

    def __init__(self, work: Preprocessing, partial: Path, *, workers: int) -> None:
        self._partial = partial
        self._pool: ProcessPoolExecutor | None = None
        self._limit = workers + 1
        self._pending: dict[Future[tuple[ShardInfo, Counts]], Block] = {}
        small = sum(file.bytes for file in work.corpus) < 2 * _SMALLEST_BLOCK
        if workers == 1 or (small and not any(file.compressed for file in work.corpus)):
            self._encode = work.encoder()
        else:
            # Spawned, not forked: a fork would copy this process's threads in an unknown state.
            self._pool = ProcessPoolExecutor(
                workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(work, os.getpid()),
            )

    def __enter__(self) -> _Encoders:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, block: Block, note: Callable[[Block, tuple[ShardInfo, Counts]], None]) -> None:
        if self._pool is None:
            note(block, write_block(self._encode, block, self._partial))
            return
        self._pending[self._pool.submit(_encode_in_worker, block, self._partial)] = block
        if len(self._pending) >= self._limit:
            self._collect(note)

    def drain(self, note: Callable[[Block, tuple[ShardInfo, Counts]], None]) -> None:
        while self._pending:
            self._collect(note)

    def _collect(self, note: Callable[[Block, tuple[ShardInfo, Counts]], None]) -> None:
        for future in wait(self._pending, return_when=FIRST_COMPLETED).done:
            block = self._pending.pop(future)
            try:
                note(block, future.result())
            except BrokenProcessPool as error:
                raise WorkerKilledError(
                    "a preprocessing worker was killed, most often because memory ran out. What is "
                    "done is kept: run the same command again, with a smaller data.workers."
                ) from error


_worker_encoder: BlockEncoder | None = None


def _start_worker(work: Preprocessing, parent: int) -> None:
    global _worker_encoder
    # The processes are the parallelism; threads inside each would only get in each other's way.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # Ctrl-C is the parent's to handle, and whatever ends the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    _worker_encoder = work.encoder()


def _encode_in_worker(block: Block, partial: Path) -> tuple[ShardInfo, Counts]:
    assert _worker_encoder is not None, "the worker was not started"
    return write_block(_worker_encoder, block, partial)


def _totals(counts: Sequence[Counts]) -> dict[str, int]:
    return {
        "lines": sum(c.lines for c in counts),
        "blank_lines": sum(c.blank for c in counts),
        "invalid_lines": sum(c.invalid for c in counts),
        "empty_documents": sum(c.empty_documents for c in counts),
    }


def _refuse_useless(work: Preprocessing, counts: Sequence[Counts], *, tokens: int) -> None:
    """Raise UserError for files with too many undecodable lines, and for a corpus without text."""
    for index, file in enumerate(work.corpus):
        of_file = [c for c in counts if c.file == index]
        lines, invalid = sum(c.lines for c in of_file), sum(c.invalid for c in of_file)
        if invalid > _INVALID_SHARE * lines:
            before, first = 0, 0
            for c in of_file:
                if c.first_invalid is not None:
                    first = before + c.first_invalid + 1
                    break
                before += c.lines
            raise UserError(
                f"{file.path}:{first}: is not UTF-8, and so are {invalid} of {lines} lines. "
                "Convert the file, e.g. `iconv -f GB18030 -t UTF-8`."
            )
    if tokens == 0:
        paths = ", ".join(file.path for file in work.corpus)
        raise UserError(f"{paths}: the corpus holds no text, only blank lines.")
