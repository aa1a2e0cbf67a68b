"""Garbage is collected at fixed steps of a training."""

from __future__ import annotations

import gc
import weakref

import pytest

from ptm.train.garbage_collection import GarbageCollection


class _Cycle:
    def __init__(self) -> None:
        self.itself = self


def test_cycles_are_collected_every_100_steps() -> None:
    with GarbageCollection() as garbage:
        cycle = weakref.ref(_Cycle())
        for _ in range(10):
            # Enough objects for Python to collect by itself if it may.
            _ = [[] for _ in range(2000)]
        garbage.after_step(99)
        assert cycle() is not None
        garbage.after_step(100)
        assert cycle() is None


def _fail_within() -> None:
    with GarbageCollection():
        assert not gc.isenabled()
        raise ValueError("fault")


def test_python_collects_again_afterwards_also_after_an_error() -> None:
    assert gc.isenabled()
    with pytest.raises(ValueError, match="fault"):
        _fail_within()
    assert gc.isenabled()
