"""The interface of a tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ptm.train.samples.record import SampleRecord

SAMPLES = "samples"
"""The group of sample predictions, beside `train`, `eval` and others."""
TABLE_COLUMNS = ("sample", "text", "predicted", "expected")
PastReports = Sequence[tuple[int, Mapping[str, float]]]
"""Steps and values of the reports before this start, in chronological order."""


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

    def close(self) -> None:
        """Flush and close."""
        ...


def table_rows(record: SampleRecord) -> list[list[str | int]]:
    """The samples of a step as the rows of a table with `TABLE_COLUMNS`."""
    return [
        [number, sample.text, sample.predicted_text, sample.expected_text]
        for number, sample in enumerate(record.samples, start=1)
    ]
