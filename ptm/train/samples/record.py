"""`samples.jsonl` of a run folder: the sample predictions of each evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from ptm.recipe.saved_files import SAMPLES, read_lines_of_run


class Sample(BaseModel):
    """The prediction for one example."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    """What the model reads. ⟨1⟩, ⟨2⟩ … are its gaps."""
    expected: tuple[str, ...]
    """The token of each gap, or a single text for the whole example."""
    predicted: tuple[str, ...]
    """The same of the model."""
    has_gaps: bool = False
    """Whether `expected` and `predicted` have an entry for each gap of `text`."""

    @property
    def expected_text(self) -> str:
        """`expected` in one line."""
        return in_one_line(self.expected, self.has_gaps)

    @property
    def predicted_text(self) -> str:
        """`predicted` in one line."""
        return in_one_line(self.predicted, self.has_gaps)


def in_one_line(entries: Sequence[str], has_gaps: bool) -> str:
    """The entries, each after the number of its gap if the text has gaps."""
    if not has_gaps:
        return " ".join(entries)
    return "  ".join(f"{gap(number)} {entry}" for number, entry in enumerate(entries, start=1))


def gap(number: int) -> str:
    """How gap `number` of a text is shown."""
    return f"⟨{number}⟩"


class SampleRecord(BaseModel):
    """A line of samples.jsonl: the samples of one evaluation set at one step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int = Field(ge=0)
    evaluation: str
    samples: tuple[Sample, ...]


def read_samples(run: Path, *, damage: list[str] | None = None) -> list[SampleRecord]:
    """The records of a run, in the order of steps. `damage`: as in `read_lines_of_run`."""
    return read_lines_of_run(run / SAMPLES, SampleRecord, damage=damage)
