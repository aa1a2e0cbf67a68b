"""Progress of a command, reported by the functions below it.

Functions that take long name their phases and pass their loops through `tracked`. A command that
shows progress listens with `listening_to`. Without a listener, nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Listener(Protocol):
    """What shows the progress of a command."""

    def begin(self, phase: str, *, total: int | None, unit: str) -> None:
        """A phase begins. `total`: its size in `unit`; None: not known."""

    def done(self, count: int) -> None:
        """`count` of the phase are done, in its unit."""


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening_to(listener: Listener) -> Iterator[None]:
    """Send the phases of this thread to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def begin_phase(phase: str, *, total: int | None = None, unit: str = "") -> None:
    """A phase begins, such as `reading the weights`."""
    listener = _listener.get()
    if listener is not None:
        listener.begin(phase, total=total, unit=unit)


def report_done(count: int) -> None:
    """`count` of the current phase are done."""
    listener = _listener.get()
    if listener is not None:
        listener.done(count)


def tracked(
    items: Iterable[Item], phase: str, *, total: int, unit: str, each: int = 1
) -> Iterator[Item]:
    """Yield `items` as a phase of `total` units; every item but the last is `each` of them.

    What follows, up to the next phase, is shown as done with this one.
    """
    begin_phase(phase, total=total, unit=unit)
    count = 0
    for item in items:
        yield item
        count = min(total, count + each)
        report_done(count)
    begin_phase(f"{phase}: done")
