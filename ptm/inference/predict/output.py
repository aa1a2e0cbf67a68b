"""Predictions as lines of text: TSV with a header, JSON lines, or the predictions of SQuAD."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ptm.console.phases import listening_to
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
    evaluation scripts read it. `report` is called after each batch. Raises UserError if the
    predictor does not have the format.
    """
    if form not in predictor.formats:
        raise UserError(
            f"--format {form} is for models that answer questions. Give one of "
            f"{', '.join(predictor.formats)}."
        )
    progress = _Answering(report)
    known: set[str] = set()
    for number, window in enumerate(predictor.windows(files)):
        columns = predictor.columns(window) if number == 0 else ()
        lines = ["\t".join(columns)] if form == "tsv" and number == 0 else []
        with progress.of(window):
            if form == "squad":
                lines = _squad_lines(predictor, window, known)
            else:
                lines += _lines(predictor, window, form)
        yield lines
    if form == "squad":
        yield ["}" if known else "{}"]


class _Answering:
    """Reports how many inputs are answered, also within a window."""

    def __init__(self, report: Callable[[PredictionProgress], None]) -> None:
        self._report = report
        self._started = time.monotonic()
        self._bytes_before, self._inputs_before = 0, 0
        self._window: Window[Any] | None = None
        self._total = 0

    @contextmanager
    def of(self, window: Window[Any]) -> Iterator[None]:
        """Listen to the model while it answers `window`; report its end."""
        self._window = window
        with listening_to(self):
            yield
        self._report_share(1.0)
        self._bytes_before = window.bytes_read
        self._inputs_before += len(window.inputs)

    def begin(self, phase: str, *, total: int | None, unit: str) -> None:
        """The model begins with `total` inputs of the window."""
        self._total = total or 0

    def done(self, count: int) -> None:
        """The model has answered `count` inputs of the window."""
        self._report_share(count / max(1, self._total))

    def _report_share(self, share: float) -> None:
        window = self._window
        assert window is not None, "no window is being answered"
        self._report(
            PredictionProgress(
                round(self._bytes_before + share * (window.bytes_read - self._bytes_before)),
                window.bytes_total,
                round(self._inputs_before + share * len(window.inputs)),
                time.monotonic() - self._started,
            )
        )


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
