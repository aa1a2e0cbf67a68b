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
    for number, window in enumerate(predictor.windows(files)):
        columns = predictor.columns(window) if number == 0 else ()
        lines = ["\t".join(columns)] if form == "tsv" and number == 0 else []
        if form == "squad":
            lines = _squad_lines(predictor, window, first=number == 0)
        else:
            lines += _lines(predictor, window, form)
        yield lines
        done += len(window.inputs)
        seconds = time.monotonic() - started
        report(PredictionProgress(window.bytes_read, window.bytes_total, done, seconds))
    if form == "squad":
        yield ["}" if done else "{}"]


def _squad_lines(predictor: Predictor[Any], window: Window[Any], *, first: bool) -> list[str]:
    pairs = (
        f"{json.dumps(one.values['id'], ensure_ascii=False)}: "
        f"{json.dumps(one.values['answer'] or '', ensure_ascii=False)}"
        for one in predictor.predict(window.inputs)
    )
    return [("{" if first and not at else ",") + pair for at, pair in enumerate(pairs)]


def _lines(predictor: Predictor[Any], window: Window[Any], form: OutputFormat) -> list[str]:
    found = predictor.predict(window.inputs)
    if form == "json_lines":
        return [json.dumps(one.values, ensure_ascii=False, allow_nan=False) for one in found]
    several = ((one.cells,) if one.lines is None else one.lines for one in found)
    return ["\t".join(cells) for lines in several for cells in lines]
