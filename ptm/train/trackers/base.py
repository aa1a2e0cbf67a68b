"""The interface of a tracker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from ptm.recipe import Recipe
from ptm.train.samples.record import SampleRecord

SAMPLES = "samples"
"""The group of sample predictions, beside `train`, `eval` and others."""
TABLE_COLUMNS = ("sample", "text", "predicted", "expected")
PastReports = Sequence[tuple[int, Mapping[str, float]]]
"""Steps and values of the reports before this start, in chronological order."""


@dataclass(frozen=True)
class History:
    """What a run has recorded before this start, in chronological order."""

    reports: PastReports = ()
    samples: Sequence[SampleRecord] = ()


EndState = Literal["done", "stopped", "failed"]
"""How a start of a run ended: the last step is done, it was stopped, or it failed."""


class Tracker(Protocol):
    """Receives the values of reports and plots them over steps."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Record named values at a step."""
        ...

    def log_samples(self, record: SampleRecord) -> None:
        """Show the sample predictions of a step, before the other values of its evaluation."""
        ...

    def alert(self, title: str, text: str, *, is_error: bool) -> None:
        """Notify those who follow the run, if the tracker can."""
        ...

    def close(self, state: EndState) -> None:
        """Flush and close; show how the run ended, if the tracker can."""
        ...


class RecipeTracker(ABC):
    """A tracker that a key of `tracking` switches on, found by scanning this package.

    Its file holds all of it; its block is in `ptm.recipe.tracking`.
    """

    KEY: ClassVar[str]
    """The key in `tracking`, and the name of the extra that installs `PACKAGE`."""
    PACKAGE: ClassVar[str]
    """The package that it imports."""
    INSTALL: ClassVar[str | None] = None
    """The command that installs `PACKAGE`; None: that of the extra."""
    WAITS_FOR_NETWORK: ClassVar[bool]
    """Whether a call may wait for the network, so that it needs a thread of its own."""

    @abstractmethod
    def __init__(self, recipe: Recipe, folder: Path, history: History) -> None:
        """Start or continue the run of the run folder `folder`."""

    @abstractmethod
    def log(self, values: Mapping[str, float], step: int) -> None:
        """Record named values at a step."""

    def log_samples(self, record: SampleRecord) -> None:  # noqa: B027
        """Show the sample predictions of a step, if the tracker can.

        Precedes the other values of the same evaluation.
        """

    @abstractmethod
    def alert(self, title: str, text: str, *, is_error: bool) -> None:
        """Notify those who follow the run, if the tracker can."""

    @abstractmethod
    def close(self, state: EndState) -> None:
        """Flush and close; show how the run ended, if the tracker can."""


def table_rows(record: SampleRecord) -> list[list[str | int]]:
    """The samples of a step as the rows of a table with `TABLE_COLUMNS`."""
    return [
        [number, sample.text, sample.predicted_text, sample.expected_text]
        for number, sample in enumerate(record.samples, start=1)
    ]
