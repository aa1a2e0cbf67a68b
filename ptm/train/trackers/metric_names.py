"""Metric names in trackers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptm.loading.index import TRAIN
from ptm.recipe.data_block import SHARE
from ptm.recipe.saved_files import read_metrics
from ptm.train.machine import SYSTEM
from ptm.train.trackers.base import PastReports

_PERFORMANCE = {
    "tokens_per_second",
    "examples_per_second",
    "step_seconds",
    "data_wait_seconds",
    "memory_bytes",
    "model_tflops",
    "mfu",
    "hfu",
}


_COUNTERS = {"epoch", "rows", "examples", "tokens"}
"""Progress of the training, which the reports of evaluation sets repeat."""


def tracker_values(record: Mapping[str, Any]) -> dict[str, float]:
    """Values of a report by tracker name: `train/loss`, `eval/perplexity`, `perf/…`, `share/…`.

    Counters of the training's progress are part of the training's values alone.

    A null in metrics.jsonl, where JSON cannot represent a non-finite value, becomes NaN.
    """
    return {
        tracker_name(key, record["split"]): math.nan if value is None else float(value)
        for key, value in record.items()
        if isinstance(value, int | float | None)
        and key != "step"
        and (record["split"] == TRAIN or key not in _COUNTERS)
    }


def tracker_name(key: str, split: str) -> str:
    """The name in trackers of the value `key` of a report of `split`."""
    if key.startswith((f"{SHARE}/", f"{SYSTEM}/")):
        return key
    return f"{'perf' if key in _PERFORMANCE else split}/{key}"


def read_past_reports(metrics: Path) -> PastReports:
    """Steps and values of all reports in a metrics.jsonl. Raises UserError if it is damaged."""
    return [(record["step"], tracker_values(record)) for record in read_metrics(metrics.parent)]
