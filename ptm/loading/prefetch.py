"""Prefetching: batches are built in a thread during the previous step."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from ptm.loading.batches import StepBatch


class Prefetcher:
    """Builds batches ahead in a thread. `waited`: seconds that `next` has waited for batches."""

    _DEPTH = 3

    def __init__(self, batches: Iterator[StepBatch]) -> None:
        self.waited = 0.0
        self._queue: queue.Queue[StepBatch | BaseException] = queue.Queue(self._DEPTH)
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._fill, args=(batches,), name="ptm-rows", daemon=True
        )
        self._thread.start()

    def _fill(self, batches: Iterator[StepBatch]) -> None:
        try:
            for batch in batches:
                self._put(batch)
                if self._closed.is_set():
                    return
        except BaseException as error:
            self._put(error)

    def _put(self, item: StepBatch | BaseException) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.2)
            except queue.Full:
                continue
            return

    def next(self) -> StepBatch:
        """Return the next batch. Raises the exception that building it raised."""
        began = time.perf_counter()
        item = self._queue.get()
        self.waited += time.perf_counter() - began
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Stop the thread."""
        self._closed.set()
        # Empty the queue: the thread may be waiting for room in it.
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        self._thread.join(timeout=5)
