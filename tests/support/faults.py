"""Faults for trainings: a stop, a kill, a full disk, a slow one."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ptm.train.trainer import OnStepBegin


class Killed(BaseException):
    """Ends a training where it stands, as a kill would: nothing catches it."""


def stop_at_step(step: int) -> OnStepBegin:
    """Ask the training to stop when `step` steps are done."""

    def ask(done: int) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return ask


def die_at_step(step: int) -> OnStepBegin:
    """Kill the training when `step` steps are done and before the next begins."""

    def die(done: int) -> None:
        if done == step:
            raise Killed

    return die


def on_sync(patch: pytest.MonkeyPatch, action: Callable[[Path], None]) -> None:
    """Call `action` with the path of every file or folder just before it is synced to disk.

    Whatever is to survive a power cut passes here, however the code that writes it is organised.
    """
    original = os.fsync

    def fsync(descriptor: int) -> None:
        action(Path(f"/proc/self/fd/{descriptor}").readlink())
        original(descriptor)

    patch.setattr(os, "fsync", fsync)


def fill_the_disk(patch: pytest.MonkeyPatch, *, save: int) -> None:
    """There is no room for the `save`-th checkpoint, and for the others there is."""
    calls = 0

    def full(path: Path) -> None:
        nonlocal calls
        if path.suffix == ".bin":
            calls += 1
            if calls == save:
                raise OSError(errno.ENOSPC, "No space left on device")

    on_sync(patch, full)


def kill_at_sync(patch: pytest.MonkeyPatch, *, name: str, occurrence: int) -> None:
    """Kill the training before a file called `name` is synced for the `occurrence`-th time."""
    calls = 0

    def kill(path: Path) -> None:
        nonlocal calls
        if path.name == name:
            calls += 1
            if calls == occurrence:
                raise Killed

    on_sync(patch, kill)


def slow_disk(patch: pytest.MonkeyPatch, seconds: float) -> list[str]:
    """Writing a rank's state takes `seconds`; returns the names of the threads that wrote."""
    threads: list[str] = []

    def wait(path: Path) -> None:
        if path.suffix == ".bin":
            threads.append(threading.current_thread().name)
            time.sleep(seconds)

    on_sync(patch, wait)
    return threads
