"""Predictions as lines of text: TSV with a header, or JSON lines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ptm.inference.predict.base import InputFiles, Predictor, Window

OutputFormat = Literal["tsv", "json_lines"]


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

    TSV begins with a header. `report` is called after each window.
    """
    started, done = time.monotonic(), 0
    for number, window in enumerate(predictor.windows(files)):
        columns = predictor.columns(window) if number == 0 else ()
        lines = ["\t".join(columns)] if form == "tsv" and number == 0 else []
        yield lines + _lines(predictor, window, form)
        done += len(window.inputs)
        seconds = time.monotonic() - started
        report(PredictionProgress(window.bytes_read, window.bytes_total, done, seconds))


def _lines(predictor: Predictor[Any], window: Window[Any], form: OutputFormat) -> list[str]:
    found = predictor.predict(window.inputs)
    if form == "json_lines":
        return [json.dumps(one.values, ensure_ascii=False, allow_nan=False) for one in found]
    several = ((one.cells,) if one.lines is None else one.lines for one in found)
    return ["\t".join(cells) for lines in several for cells in lines]
