"""Run a tracker on its own thread; training waits for it only at the end, for a limited time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from queue import SimpleQueue

from ptm.train.samples.record import SampleRecord
from ptm.train.trackers.base import EndState, Tracker

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 60.0
"""Seconds until a warning if the tracker has not started, and the longest wait at the end."""


class Background:
    """Creates, feeds and closes a tracker on a thread. A failure is logged and disables it."""

    def __init__(self, name: str, make: Callable[[], Tracker]) -> None:
        self._name = name
        self._make = make
        self._end: EndState = "done"
        self._calls: SimpleQueue[Callable[[Tracker], None] | None] = SimpleQueue()
        self._ready = threading.Event()
        self._left_out = threading.Event()
        self._remarked = False
        self._began = time.monotonic()
        # Daemon thread: a tracker that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._work, name=f"tracker-{name}", daemon=True)
        self._thread.start()

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Queue a report."""
        self._queue(lambda tracker: tracker.log(values, step))

    def log_samples(self, record: SampleRecord) -> None:
        """Queue sample predictions."""
        self._queue(lambda tracker: tracker.log_samples(record))

    def alert(self, title: str, text: str, *, is_error: bool) -> None:
        """Queue a notification."""
        self._queue(lambda tracker: tracker.alert(title, text, is_error=is_error))

    def _queue(self, call: Callable[[Tracker], None]) -> None:
        if self._left_out.is_set():
            return
        self._calls.put(call)
        waited = time.monotonic() - self._began
        if not self._ready.is_set() and not self._remarked and waited > TIMEOUT_SECONDS:
            self._remarked = True
            logger.warning(
                "%s has not started within %.0f s; training continues", self._name, waited
            )

    def close(self, state: EndState) -> None:
        """Wait up to `TIMEOUT_SECONDS` seconds for the tracker to receive all reports and close."""
        self._end = state
        self._calls.put(None)
        self._thread.join(TIMEOUT_SECONDS)
        if self._thread.is_alive():
            logger.warning(
                "%s did not finish within %.0f s and is abandoned; metrics.jsonl has every report",
                self._name,
                TIMEOUT_SECONDS,
            )

    def _work(self) -> None:
        try:
            tracker = self._make()
        except Exception as error:
            self._left_out.set()
            logger.warning("%s cannot be used and is disabled: %s", self._name, error)
            return
        self._ready.set()
        while (call := self._calls.get()) is not None and not self._left_out.is_set():
            try:
                call(tracker)
            except Exception as error:
                self._left_out.set()
                logger.warning("%s failed and is now disabled: %s", self._name, error)
        try:
            tracker.close(self._end)
        except Exception as error:
            logger.warning("%s could not be closed: %s", self._name, error)
