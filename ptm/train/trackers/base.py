"""The interface of a tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

PastReports = Sequence[tuple[int, Mapping[str, float]]]
"""Steps and values of the reports before this start, in chronological order."""


class Tracker(Protocol):
    """Receives the values of reports and plots them over steps."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Record named values at a step."""
        ...

    def alert(self, title: str, text: str, *, is_error: bool) -> None:
        """Notify those who follow the run, if the tracker can."""
        ...

    def close(self) -> None:
        """Flush and close."""
        ...
