"""Blocks become shards in several processes, and what becomes of these processes."""

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
from ptm.store.encode import BlockEncoder, Counts, write_block
from ptm.store.format import ShardInfo
from ptm.text.corpus import Block

_PR_SET_PDEATHSIG = 1


class WorkerKilledError(UserError):
    """What is done stays good: the same command goes on from it."""


_Note = Callable[[Block, tuple[ShardInfo, Counts]], None]


class Encoders:
    """Encodes blocks here (one worker) or in processes, with few blocks in flight."""

    def __init__(
        self, make_encoder: Callable[[], BlockEncoder], partial: Path, *, workers: int
    ) -> None:
        """`partial`: the folder that shards are written into."""
        self._partial = partial
        self._pool: ProcessPoolExecutor | None = None
        self._limit = workers + 1
        self._pending: dict[Future[tuple[ShardInfo, Counts]], Block] = {}
        if workers == 1:
            self._encode = make_encoder()
        else:
            # Spawned, not forked: a fork would copy this process's threads in an unknown state.
            self._pool = ProcessPoolExecutor(
                workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(make_encoder, os.getpid()),
            )

    def __enter__(self) -> Encoders:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, block: Block, note: _Note) -> None:
        """Encode `block` now, or as soon as a process is free; `note` hears of what is done.

        Raises WorkerKilledError.
        """
        if self._pool is None:
            note(block, write_block(self._encode, block, self._partial))
            return
        self._pending[self._pool.submit(_encode_in_worker, block, self._partial)] = block
        if len(self._pending) >= self._limit:
            self._collect(note)

    def drain(self, note: _Note) -> None:
        """Wait for all that was submitted. Raises WorkerKilledError."""
        while self._pending:
            self._collect(note)

    def _collect(self, note: _Note) -> None:
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


def _start_worker(make_encoder: Callable[[], BlockEncoder], parent: int) -> None:
    global _worker_encoder
    # The processes are the parallelism; threads inside each would only get in each other's way.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # Ctrl-C is the parent's to handle, and whatever ends the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    _worker_encoder = make_encoder()


def _encode_in_worker(block: Block, partial: Path) -> tuple[ShardInfo, Counts]:
    assert _worker_encoder is not None, "the worker was not started"
    return write_block(_worker_encoder, block, partial)
