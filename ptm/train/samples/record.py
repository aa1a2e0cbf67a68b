"""`samples.jsonl` of a run folder: the sample predictions of each evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from ptm.errors import UserError
from ptm.files.reading import MEGABYTE, FileContentError, reason_of
from ptm.files.records import read_json_lines
from ptm.recipe.saved_files import SAMPLES

_LIMIT = 128 * MEGABYTE


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


def read_samples(run: Path) -> list[SampleRecord]:
    """The records of a run, in the order of steps; empty without the file.

    A last line that a kill left incomplete is skipped. Raises UserError for any other line that is
    damaged.
    """
    path = run / SAMPLES
    found = []
    try:
        for number, line in read_json_lines(path, SampleRecord, limit=_LIMIT):
            if isinstance(line, FileContentError):
                raise UserError(f"{path}:{number}: the line is damaged ({line}). Remove it.")
            found.append(line)
    except FileNotFoundError:
        return []
    except (OSError, FileContentError) as error:
        raise UserError(f"{path}: the file is damaged: {reason_of(error)}.") from error
    return found
