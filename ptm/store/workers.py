"""Processes that turn parts of a corpus into shards, and what happens if one is killed."""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from ptm.errors import UserError
from ptm.store.encode import BlockTokenizer
from ptm.store.finished import FinishedBlock
from ptm.store.parts import Task, finish_task

_PR_SET_PDEATHSIG = 1


class WorkerKilledError(UserError):
    """A worker process was killed. Finished shards are valid: the same command resumes the run."""

    def __init__(self) -> None:
        super().__init__(
            "a preprocessing worker was killed, most often because memory ran out. Finished shards "
            "are kept: run the same command with a smaller data.workers."
        )


_OnFinished = Callable[[FinishedBlock], None]


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    """Takes a task; gives each finished block, and then None or an exception."""
    order: int | None = None
    """Index of its current task among all tasks; None while it is idle."""


class TokenizerPool:
    """Works on tasks in this process (one worker) or in a pool of worker processes.

    A worker has one task at a time, which bounds the memory. It reports each block as soon as it
    is finished; a ProcessPoolExecutor would do so at the end of a task, which may be a large file.
    """

    def __init__(
        self,
        make_encoder: Callable[[], BlockTokenizer],
        partial: Path,
        *,
        workers: int,
        private: Sequence[int] = (),
    ) -> None:
        """`make_encoder` is called once per process; shards are written to the folder `partial`.

        `private`: file descriptors of this process that no worker keeps open, such as locks.
        """
        self._make_encoder = make_encoder
        self._partial = partial
        self._private = tuple(private)
        self._workers: list[_Worker] = []
        if workers > 1:
            by_fork = has_one_thread()
            for _ in range(workers):
                self._workers.append(self._started(by_fork=by_fork))
        self._failures: dict[int, Exception] = {}
        """Place of a task among all tasks -> what it raised."""

    def __enter__(self) -> TokenizerPool:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        for worker in self._workers:
            # A worker that waits for a task ends when its connection does.
            worker.connection.close()
            if error is not None:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join()

    def run(self, tasks: Iterable[Task], on_finished: _OnFinished) -> None:
        """Work on all tasks. `on_finished` is called for each finished block, in this process.

        Raises what the first of the tasks that fail raises, in their order, and UserError of
        `tasks` itself. Raises WorkerKilledError.
        """
        if not self._workers:
            encode = self._make_encoder()
            for task in tasks:
                for finished in finish_task(task, encode, self._partial):
                    on_finished(finished)
            return
        count = 0
        try:
            for task in tasks:
                self._give(task, count, on_finished)
                count += 1
                if self._failures:
                    break
        except WorkerKilledError:
            raise
        except UserError as error:
            self._failures[count] = error
        while self._is_busy(before=min(self._failures, default=math.inf)):
            self._receive(on_finished)
        if self._failures:
            raise self._failures[min(self._failures)]

    def _is_busy(self, *, before: float) -> bool:
        """Whether a worker has a task whose place is smaller than `before`."""
        return any(worker.order is not None and worker.order < before for worker in self._workers)

    def _give(self, task: Task, order: int, on_finished: _OnFinished) -> None:
        """Give a task to the first worker that is idle, unless a task fails before."""
        while not self._failures:
            idle = next((worker for worker in self._workers if worker.order is None), None)
            if idle is not None:
                idle.order = order
                try:
                    idle.connection.send(task)
                except OSError as error:
                    raise WorkerKilledError from error
                return
            self._receive(on_finished)

    def _receive(self, on_finished: _OnFinished) -> None:
        """Wait for at least one message of a worker."""
        busy = {worker.connection: worker for worker in self._workers if worker.order is not None}
        for connection in wait(list(busy)):
            assert isinstance(connection, Connection), "only connections are waited for"
            worker = busy[connection]
            try:
                message = connection.recv()
            except (EOFError, OSError) as error:
                raise WorkerKilledError from error
            if isinstance(message, FinishedBlock):
                on_finished(message)
                continue
            if message is not None and worker.order is not None:
                self._failures[worker.order] = message
            worker.order = None

    def _started(self, *, by_fork: bool) -> _Worker:
        context: ForkContext | SpawnContext = multiprocessing.get_context("spawn")
        if by_fork:
            context = multiprocessing.get_context("fork")
        here, there = context.Pipe()
        inherited: tuple[int, ...] = ()
        if by_fork:
            own_ends = (worker.connection.fileno() for worker in self._workers)
            inherited = (*self._private, *own_ends, here.fileno())
        process = context.Process(
            target=_work,
            args=(there, self._make_encoder, self._partial, os.getpid(), inherited),
            daemon=True,
        )
        process.start()
        # So that the connection ends when the worker does.
        there.close()
        return _Worker(process, here)


def has_one_thread() -> bool:
    """Whether this process has a single thread; False where the system does not say so.

    It may then be forked, which saves the imports of each worker. A fork copies the locks that
    other threads hold at that moment, and the copies are never released.
    """
    try:
        return sum(1 for _ in Path("/proc/self/task").iterdir()) == 1
    except OSError:
        return False


def _work(
    connection: Connection,
    make_encoder: Callable[[], BlockTokenizer],
    partial: Path,
    parent: int,
    inherited: Sequence[int],
) -> None:
    """The life of a worker process: take tasks until the connection ends.

    `inherited`: descriptors that only the parent may keep open. A lock would outlive it otherwise,
    and connections of other workers would not end when it closes them.
    """
    for descriptor in inherited:
        os.close(descriptor)
    # One process per core: threads inside each would compete for the cores.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # The parent handles Ctrl-C. When the parent dies, the kernel kills its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent died before the line above took effect.
    if os.getppid() != parent:
        os._exit(1)
    # Once the parent has ended or closed the connection, no result or error can be sent.
    with suppress(EOFError, ConnectionError):
        _work_on_tasks(connection, make_encoder, partial)


def _work_on_tasks(
    connection: Connection, make_encoder: Callable[[], BlockTokenizer], partial: Path
) -> None:
    """Take tasks and send their blocks or errors. Raises EOFError or ConnectionError at the end."""
    encode: BlockTokenizer | None = None
    while True:
        task: Task = connection.recv()
        try:
            encode = encode or make_encoder()
            for finished in finish_task(task, encode, partial):
                connection.send(finished)
            connection.send(None)
        except Exception as error:
            error.add_note(traceback.format_exc())
            connection.send(error)
