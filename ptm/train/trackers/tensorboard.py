"""TensorBoard's event files."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path

from ptm.recipe import Recipe
from ptm.train.samples.record import SampleRecord
from ptm.train.trackers.base import (
    SAMPLES,
    TABLE_COLUMNS,
    EndState,
    History,
    RecipeTracker,
    table_rows,
)


class TensorBoard(RecipeTracker):
    """One event file per start of the program; points past the checkpoint are purged."""

    KEY = "tensorboard"
    PACKAGE = "tensorboard"
    WAITS_FOR_NETWORK = False

    def __init__(self, recipe: Recipe, folder: Path, history: History) -> None:
        folder = folder / "tensorboard"
        from torch.utils.tensorboard import SummaryWriter

        there = any(folder.glob("events.out.tfevents.*"))
        # Later points come from a start that was killed past its checkpoint: purge them.
        last = history.reports[-1][0] if history.reports else 0
        # The first start also writes a purge step: TensorBoard acts only from the second one on.
        self._writer = SummaryWriter(str(folder), purge_step=last + 1 if there else 0)
        if not there:
            for step, values in history.reports:
                self._add(values, step)
            for record in history.samples:
                self._add_samples(record)
            self._writer.flush()

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write and flush the values, so that a kill loses none."""
        self._add(values, step)
        self._writer.flush()

    def _add(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def log_samples(self, record: SampleRecord) -> None:
        """Write and flush the samples as a table in Markdown."""
        self._add_samples(record)
        self._writer.flush()

    def _add_samples(self, record: SampleRecord) -> None:
        rows = [TABLE_COLUMNS, ["---"] * len(TABLE_COLUMNS), *table_rows(record)]
        text = "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)
        self._writer.add_text(f"{SAMPLES}/{record.evaluation}", text, record.step)

    def alert(self, title: str, text: str, *, is_error: bool) -> None:
        """TensorBoard has no notifications."""

    def close(self, state: EndState) -> None:
        """Close the file. Event files have no state of the run."""
        self._writer.close()


def _cell(value: str | int) -> str:
    """A cell of a Markdown table, in which the characters of Markdown and HTML stay as they are."""
    escaped = re.sub(r"([\\`*_{}\[\]()#+.!|~-])", r"\\\1", html.escape(str(value), quote=False))
    return escaped.replace("\n", "<br>")
