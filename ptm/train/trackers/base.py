"""What a tracker is, and a report under the names trackers show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

Told = Sequence[tuple[int, Mapping[str, float]]]
"""Steps and values of the reports before this start, in the order they were made."""


class Tracker(Protocol):
    """Something that shows curves."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take in named values at a step."""
        ...

    def close(self) -> None:
        """Write out everything."""
        ...
