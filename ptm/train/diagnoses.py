"""Diagnoses of evaluations as files of a run folder, which `ptm report` shows."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import quote

import numpy as np
from pydantic import BaseModel, ConfigDict

from ptm.components.objectives.scores.diagnosis import (
    Confusion,
    Diagnosis,
    LabelScore,
    WorstExample,
)
from ptm.errors import UserError
from ptm.files.reading import MEGABYTE, FileContentError, reason_of
from ptm.files.records import read_json
from ptm.files.writing import write_file
from ptm.loading.rows import PackedDataset
from ptm.recipe.saved_files import EVALUATIONS

logger = logging.getLogger(__name__)

_CHARACTERS = 1000
"""Of the text of an example."""
_BYTES = 4 * MEGABYTE


class DiagnosisFile(BaseModel):
    """The diagnosis of the newest evaluation of a set."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    evaluation: str
    step: int | None
    labels: tuple[LabelScore, ...]
    confusions: tuple[Confusion, ...]
    worst: tuple[WorstExample, ...]
    texts: tuple[str, ...]
    """The tokens of each of the worst examples, with spaces between them."""


def write_diagnosis(
    run: Path, evaluation: str, diagnosis: Diagnosis, rows: PackedDataset, *, step: int | None
) -> None:
    """Write `evaluations/NAME.json` of a run folder. A failure is logged: it ends no training."""
    written = DiagnosisFile(
        evaluation=evaluation,
        step=step,
        labels=diagnosis.labels,
        confusions=diagnosis.confusions,
        worst=diagnosis.worst,
        texts=tuple(_texts(rows, [one.example for one in diagnosis.worst])),
    )
    folder = run / EVALUATIONS
    try:
        folder.mkdir(exist_ok=True)
        write_file(folder / f"{quote(evaluation, safe='')}.json", written.model_dump_json() + "\n")
    except OSError as error:
        logger.warning("%s: the diagnosis cannot be written: %s", folder, error.strerror)


def _texts(rows: PackedDataset, examples: list[int]) -> list[str]:
    """The text of examples of a set, cut after 1,000 characters."""
    if not examples:
        return []
    found = rows.words(rows.placed_alone(np.array(examples, dtype=np.int64)))
    return [text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}…" for text in found]


def read_diagnoses(run: Path, *, damage: list[str] | None = None) -> list[DiagnosisFile]:
    """The diagnoses of a run, by name of the set.

    With `damage`, damaged files are left out, and a sentence about each is appended to it. Without,
    they raise UserError.
    """
    found = []
    for path in sorted((run / EVALUATIONS).glob("*.json")):
        try:
            found.append(read_json(path, DiagnosisFile, limit=_BYTES))
        except (OSError, FileContentError) as error:
            sentence = (
                f"{path}: the file is damaged: {reason_of(error)}. Remove it; `ptm evaluate` "
                "writes it anew."
            )
            if damage is None:
                raise UserError(sentence) from error
            damage.append(sentence)
    return found
