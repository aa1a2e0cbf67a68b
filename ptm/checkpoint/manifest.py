"""Models of the JSON files of a checkpoint: `manifest.json` and `run.json`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from ptm.validation import text_of

WEIGHT = "weight"
"""The kind of the fragments that hold weights; other kinds are optimizer states."""

Count = Annotated[int, Field(ge=0, lt=2**62)]
Digest = Annotated[str, text_of(r"^[0-9a-f]{32}$", "have 32 hexadecimal digits")]
Fingerprint = Annotated[
    str, text_of(r"^[0-9a-f]*$", "have hexadecimal digits only"), Field(max_length=128)
]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FormatNumber(BaseModel):
    """The format of a manifest of any version."""

    model_config = ConfigDict(strict=True)

    format: int


class Heading(_Strict):
    """The first line of manifest.json: the checksum of the rest."""

    blake2b: Digest


class FragmentEntry(_Strict):
    """A fragment in a state file; see `ptm.checkpoint.format.Fragment`."""

    name: str
    kind: str
    start: Count
    count: Count
    at: Count


class FileEntry(_Strict):
    """A state file of one rank."""

    file: str = text_of(r"^rank\d{5,9}\.bin$", "be like rank00000.bin")
    bytes: Count
    blake2b: Digest
    fragments: tuple[FragmentEntry, ...]
    seconds: float | None = None
    """Seconds that writing took."""


class Manifest(_Strict):
    """The second line of manifest.json."""

    format: int
    parameters: dict[str, tuple[Count, ...]]
    kinds: tuple[str, ...]
    files: tuple[FileEntry, ...]
    run: Digest
    """Checksum of run.json."""


class _Position(_Strict):
    step: Count
    row: Count
    examples: Count
    tokens: Count


class _Window(_Strict):
    sums: dict[str, float]
    steps: Count
    skipped: Count
    unmeasured: dict[str, Count] = {}
    """Number of steps that did not measure a metric; absent in earlier versions."""


class _Patience(_Strict):
    best: float | None
    misses: Count


class RunState(_Strict):
    """run.json: the progress of a run at a checkpoint, from which it resumes."""

    step: Count
    updates: int
    skipped: int
    scaler: dict[str, int | float | bool] | None
    position: _Position
    window: _Window
    patience: _Patience
    best: float | None
    watch: dict[str, Count | list[float]]
    """State of the anomaly detection: windows of values, and the number of anomalies."""
    steps: Count
    ended: bool
    started_from: dict[str, Any] | None
    """Provenance of warm-start weights."""
    teachers: list[str]
    store: Fingerprint
    tokenizer: Fingerprint
    objective_files: str
    source_stores: dict[str, Fingerprint] = {}
    """Fingerprints of the stores of named sources; absent in earlier versions."""
    evaluation_stores: dict[str, Fingerprint] = {}
    """Fingerprints of the stores of evaluation sets; absent in earlier versions."""
