"""Predictions as lines of text: TSV with a header, JSON lines, or the predictions of SQuAD."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ptm.errors import UserError
from ptm.inference.predict.base import InputFiles, OutputFormat, Predictor, Window


@dataclass(frozen=True)
class PredictionProgress:
    """Progress of a prediction: totals so far, and seconds since its start."""

    bytes_read: int
    bytes_total: int
    documents: int
    """Inputs that have been answered."""
    seconds: float


def predicted_lines(
    predictor: Predictor[Any],
    files: InputFiles,
    *,
    form: OutputFormat,
    report: Callable[[PredictionProgress], None],
) -> Iterator[list[str]]:
    """Yield the lines of the output, without line ends, window by window.

    TSV begins with a header. `squad` is one JSON object of all answers by their ids, as SQuAD's
    evaluation scripts read it. `report` is called after each window. Raises UserError if the
    predictor does not have the format.
    """
    if form not in predictor.formats:
        raise UserError(
            f"--format {form} is for models that answer questions. Give one of "
            f"{', '.join(predictor.formats)}."
        )
    started, done = time.monotonic(), 0
    known: set[str] = set()
    for number, window in enumerate(predictor.windows(files)):
        columns = predictor.columns(window) if number == 0 else ()
        lines = ["\t".join(columns)] if form == "tsv" and number == 0 else []
        if form == "squad":
            lines = _squad_lines(predictor, window, known)
        else:
            lines += _lines(predictor, window, form)
        yield lines
        done += len(window.inputs)
        seconds = time.monotonic() - started
        report(PredictionProgress(window.bytes_read, window.bytes_total, done, seconds))
    if form == "squad":
        yield ["}" if known else "{}"]


def _squad_lines(predictor: Predictor[Any], window: Window[Any], known: set[str]) -> list[str]:
    """The pairs of a window. `known`: the ids before it; those of the window are added.

    Raises UserError if two questions have one id. Records without an id are left out.
    """
    lines = []
    for one, found in zip(window.inputs, predictor.predict(window.inputs), strict=True):
        name = found.values["id"]
        if not name and found.values["answer"] is None:
            continue
        if name in known:
            raise UserError(
                f"{one.place}: another question has the id {json.dumps(name, ensure_ascii=False)}, "
                "but --format squad has one answer per id. Rename one of them, or write TSV or "
                "JSON lines."
            )
        answer = json.dumps(found.values["answer"] or "", ensure_ascii=False)
        lines.append(f"{',' if known else '{'}{json.dumps(name, ensure_ascii=False)}: {answer}")
        known.add(name)
    return lines


def _lines(predictor: Predictor[Any], window: Window[Any], form: OutputFormat) -> list[str]:
    found = predictor.predict(window.inputs)
    if form == "json_lines":
        return [json.dumps(one.values, ensure_ascii=False, allow_nan=False) for one in found]
    several = ((one.cells,) if one.lines is None else one.lines for one in found)
    return ["\t".join(cells) for lines in several for cells in lines]
