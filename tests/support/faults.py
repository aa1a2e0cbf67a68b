"""Faults that strike a training: a stop request, a kill, a full disk, a slow disk."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from ptm.files.writing import temporary_target
from ptm.train.trainer import OnStepBegin


class Killed(BaseException):
    """Ends a training immediately, as SIGKILL would; a BaseException, so that it is not caught."""


def stop_at_step(step: int) -> OnStepBegin:
    """Request a stop (SIGTERM) when `step` steps are done."""

    def request_stop(done: int) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return request_stop


def die_at_step(step: int) -> OnStepBegin:
    """Kill the training when `step` steps are done, before the next one starts."""

    def die(done: int) -> None:
        if done == step:
            raise Killed

    return die


def on_sync(patch: pytest.MonkeyPatch, action: Callable[[Path], None]) -> None:
    """Call `action` with the path of each file or folder just before it is synced to disk.

    All data that must survive a power cut passes through `os.fsync`, whichever code writes it.
    """
    original = os.fsync

    def fsync(descriptor: int) -> None:
        action(Path(f"/proc/self/fd/{descriptor}").readlink())
        original(descriptor)

    patch.setattr(os, "fsync", fsync)


def fill_the_disk(patch: pytest.MonkeyPatch, *, save: int) -> None:
    """Make the disk full for the `save`-th checkpoint, and only for that one."""
    calls = 0

    def full(path: Path) -> None:
        nonlocal calls
        if path.suffix == ".bin":
            calls += 1
            if calls == save:
                raise OSError(errno.ENOSPC, "No space left on device")

    on_sync(patch, full)


def kill_at_sync(patch: pytest.MonkeyPatch, *, name: str, occurrence: int) -> None:
    """Kill the training before a file is synced that is called `name`, or is renamed to it later,
    for the `occurrence`-th time."""
    calls = 0

    def kill(path: Path) -> None:
        nonlocal calls
        target = temporary_target(path)
        if name in (path.name, target.name if target else None):
            calls += 1
            if calls == occurrence:
                raise Killed

    on_sync(patch, kill)


def slow_disk(patch: pytest.MonkeyPatch, seconds: float) -> list[str]:
    """Delay the write of each rank's state by `seconds`; returns the names of writing threads."""
    threads: list[str] = []

    def wait(path: Path) -> None:
        if path.suffix == ".bin":
            threads.append(threading.current_thread().name)
            time.sleep(seconds)

    on_sync(patch, wait)
    return threads


def failing_writes(
    patch: pytest.MonkeyPatch, names: Collection[str], number: int
) -> Callable[[bool], None]:
    """Return a function that makes writes to files of these names fail with `number`, or not.

    The first write of a fault takes some bytes, as that of a disk with little room does.
    """
    active = False
    started: set[str] = set()
    original = os.write

    def write(descriptor: int, data: bytes) -> int:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if not active or name not in names:
            return original(descriptor, data)
        if number == errno.ENOSPC and name not in started:
            started.add(name)
            return original(descriptor, data[:7])
        raise OSError(number, os.strerror(number))

    def switch(on: bool) -> None:
        nonlocal active
        active = on
        started.clear()

    patch.setattr(os, "write", write)
    return switch
