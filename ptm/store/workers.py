"""A pool of processes that encode blocks to shards, and its handling of killed processes."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from ptm.errors import UserError
from ptm.store.encode import BlockCounts, BlockTokenizer, write_block
from ptm.store.sections import ShardInfo
from ptm.text.corpus import Block

_PR_SET_PDEATHSIG = 1


class WorkerKilledError(UserError):
    """A worker process was killed. Finished shards are valid: the same command resumes the run."""


_OnFinished = Callable[[Block, tuple[ShardInfo, BlockCounts]], None]


class TokenizerPool:
    """Encodes blocks in this process (one worker) or in a pool of worker processes.

    At most `workers` + 1 blocks are in flight, which bounds the memory.
    """

    def __init__(
        self, make_encoder: Callable[[], BlockTokenizer], partial: Path, *, workers: int
    ) -> None:
        """`make_encoder` is called once per process; shards are written to the folder `partial`."""
        self._partial = partial
        self._pool: ProcessPoolExecutor | None = None
        self._limit = workers + 1
        self._pending: dict[Future[tuple[ShardInfo, BlockCounts]], Block] = {}
        if workers == 1:
            self._encode = make_encoder()
        else:
            # Spawn, not fork: a fork would copy locks that other threads of this process hold.
            self._pool = ProcessPoolExecutor(
                workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(make_encoder, os.getpid()),
            )

    def __enter__(self) -> TokenizerPool:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, block: Block, on_finished: _OnFinished) -> None:
        """Encode `block` now, or as soon as a worker is free.

        `on_finished` is called for each finished block, in this process. Raises WorkerKilledError.
        """
        if self._pool is None:
            on_finished(block, write_block(self._encode, block, self._partial))
            return
        self._pending[self._pool.submit(_encode_in_worker, block, self._partial)] = block
        if len(self._pending) >= self._limit:
            self._collect(on_finished)

    def drain(self, on_finished: _OnFinished) -> None:
        """Wait for all submitted blocks. Raises WorkerKilledError."""
        while self._pending:
            self._collect(on_finished)

    def _collect(self, on_finished: _OnFinished) -> None:
        for future in wait(self._pending, return_when=FIRST_COMPLETED).done:
            block = self._pending.pop(future)
            try:
                on_finished(block, future.result())
            except BrokenProcessPool as error:
                raise WorkerKilledError(
                    "a preprocessing worker was killed, most often because memory ran out. "
                    "Finished shards are kept: run the same command with a smaller data.workers."
                ) from error


_worker_encoder: BlockTokenizer | None = None


def _start_worker(make_encoder: Callable[[], BlockTokenizer], parent: int) -> None:
    global _worker_encoder
    # One process per core: threads inside each would compete for the cores.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # The parent handles Ctrl-C. When the parent dies, the kernel kills its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent died before the line above took effect.
    if os.getppid() != parent:
        os._exit(1)
    _worker_encoder = make_encoder()


def _encode_in_worker(block: Block, partial: Path) -> tuple[ShardInfo, BlockCounts]:
    assert _worker_encoder is not None, "the worker was not started"
    return write_block(_worker_encoder, block, partial)
