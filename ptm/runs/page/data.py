"""What the charts of a report page show: which metrics together, and events on their axis."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ptm.errors import UserError
from ptm.files.reading import MEGABYTE, FileContentError, read_text
from ptm.recipe.saved_files import EVENTS, METRICS, read_metrics
from ptm.runs.page.styles import styles_of, title_of, unit_of

_COUNTS = {"step", "split", "epoch", "rows", "examples", "tokens"}
_SPEED = "Speed and memory"
_GROUPS = (
    ("Loss", ("loss",)),
    ("Optimisation", ("learning_rate", "grad_norm", "loss_scale", "skipped_steps")),
    (
        _SPEED,
        (
            "tokens_per_second",
            "examples_per_second",
            "mfu",
            "hfu",
            "model_tflops",
            "step_seconds",
            "data_wait_seconds",
            "save_seconds",
            "memory_bytes",
        ),
    ),
)
_MACHINES, _METRICS, _SHARES = "Machines", "Metrics", "Shares of the sources"
_ORDER = ("Loss", _METRICS, "Optimisation", _SPEED, _SHARES, _MACHINES)
_SAME_SHAPES = {(_SPEED, "model_tflops"): "tokens_per_second"}
"""Charts that are left out where they have the shape of another one of their group."""
_SAME_SHAPE = 1.05
_ROUNDING = 1e-6
"""The relative difference of values that are equal but for the rounding of 32-bit sums."""
_LOG_BYTES = 64 * MEGABYTE
_RESUMED = re.compile(r"resuming from step (\d+)")


@dataclass(frozen=True)
class Line:
    """One curve. `steps` and `values` have the same length."""

    name: str
    colour: str
    steps: tuple[int, ...]
    values: tuple[float, ...]
    dash: tuple[int, ...] = ()
    smooth: bool = True
    """Whether the page may smooth it: values of the training, not of evaluations."""


@dataclass(frozen=True)
class Chart:
    """Curves over the same axes."""

    group: str
    metric: str
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """The metric in words, with its unit unless the axis has it."""
        return title_of(self.metric)

    @property
    def unit(self) -> str:
        """The unit of the ticks of the axis: `B`, `B/s`, or none."""
        return unit_of(self.metric)


@dataclass(frozen=True)
class Mark:
    """An event at a step: an anomaly, or a resume."""

    step: int
    kind: str
    text: str


@dataclass(frozen=True)
class RunCurves:
    """The reports of one run."""

    name: str
    records: Sequence[Mapping[str, Any]]
    marks: tuple[Mark, ...] = field(default=())


def run_curves(run: Path) -> RunCurves:
    """Read the reports and events of a run, without damaged lines.

    Raises UserError if it has no reports.
    """
    damage: list[str] = []
    records = read_metrics(run, damage=damage)
    if not records:
        what = "is empty" if (run / METRICS).exists() else "does not exist"
        raise UserError(*damage or [f"{run}: no reports yet ({METRICS} {what})."])
    marks = [*_anomalies(run), *_resumes(run)]
    return RunCurves(run.name, records, tuple(sorted(marks, key=lambda mark: mark.step)))


def charts_of(runs: Sequence[RunCurves]) -> list[Chart]:
    """The charts of one or several runs, grouped; constant and repeated curves are left out."""
    found: dict[tuple[str, str], list[tuple[int, Line]]] = {}
    for number, run in enumerate(runs):
        drawn: dict[tuple[str, str, str], list[Line]] = {}
        series = list(_series(run.records))
        metrics = {metric for metric, *_ in series}
        for metric, split, steps, values in series:
            if _is_coarser(metric, metrics) or _is_constant(metric, split, runs):
                continue
            group, title, label = _place(metric, split)
            name = f"{run.name} {label}".strip() if len(runs) > 1 else label
            line = Line(name, "", steps, values, smooth=split == "train")
            # mlm_loss is the loss if it is its only term. Other lines of a chart repeat nothing:
            # two GPUs may have the same values.
            results = "results" if group in ("Loss", _METRICS) else group
            before = drawn.setdefault((results, split, label), [])
            if any(_is_repeated(line, one) for one in before):
                continue
            before.append(line)
            found.setdefault((group, title), []).append((number, line))
    for (group, metric), other in _SAME_SHAPES.items():
        if _is_proportional(found.get((group, metric), ()), found.get((group, other), ())):
            del found[group, metric]
    charts = [Chart(group, metric, _coloured(lines)) for (group, metric), lines in found.items()]
    return sorted(charts, key=lambda chart: (_ORDER.index(chart.group), *_rank(chart.metric)))


def _is_proportional(some: Sequence[tuple[int, Line]], others: Sequence[tuple[int, Line]]) -> bool:
    """Whether each line has the shape of the one in the other chart, up to five percent."""
    if not some or len(some) != len(others):
        return False
    for (_, one), (_, other) in zip(some, others, strict=True):
        if one.steps != other.steps or min(one.values) <= 0 or min(other.values) <= 0:
            return False
        ratios = [a / b for a, b in zip(one.values, other.values, strict=True)]
        if max(ratios) > _SAME_SHAPE * min(ratios):
            return False
    return True


def nearly_equal(one: float, other: float) -> bool:
    """Whether two values are equal but for rounding."""
    return math.isclose(one, other, rel_tol=_ROUNDING)


def _is_repeated(line: Line, other: Line) -> bool:
    """Whether two lines have the same values at the same steps, but for rounding."""
    return line.steps == other.steps and all(map(nearly_equal, line.values, other.values))


def _is_constant(metric: str, split: str, runs: Sequence[RunCurves]) -> bool:
    """Whether several values of a metric of a split are equal, within and between the runs.

    A single value is shown as a dot.
    """
    found = [
        float(record[metric])
        for run in runs
        for record in run.records
        if record["split"] == split and isinstance(record.get(metric), int | float)
    ]
    return len(found) > 1 and nearly_equal(min(found), max(found))


def _is_coarser(metric: str, metrics: Set[str]) -> bool:
    """Whether another metric has the same quantity without the rounding to a tenth of a percent."""
    host, _, name = metric.rpartition("/")
    return name == "memory_percent" and f"{host}/memory_used_bytes" in metrics


def _coloured(lines: Sequence[tuple[int, Line]]) -> tuple[Line, ...]:
    """The lines of a chart, each with the number of its run, with their colours and dashes."""
    styles = styles_of([number for number, _ in lines])
    return tuple(
        replace(line, colour=style.colour, dash=style.dash)
        for (_, line), style in zip(lines, styles, strict=True)
    )


def _series(
    records: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, str, tuple[int, ...], tuple[float, ...]]]:
    """Yield metric, split, steps and values; the loss first, and the training's before others'."""
    values: dict[tuple[str, str], dict[int, float]] = {}
    for record in records:
        for key, value in record.items():
            if key not in _COUNTS and isinstance(value, int | float):
                of_split = values.setdefault((key, record["split"]), {})
                of_split[record["step"]] = float(value)
    ordered = sorted(values, key=lambda name: (name[0] != "loss", name[1] != "train"))
    for metric, split in ordered:
        points = sorted(values[metric, split].items())
        yield metric, split, tuple(step for step, _ in points), tuple(v for _, v in points)


def _place(metric: str, split: str) -> tuple[str, str, str]:
    """Group and title of the chart of a metric, and the name of its line there."""
    if metric.startswith("system/"):
        _, host, name = metric.split("/", 2)
        gpu = re.fullmatch(r"gpu(\d+)_(\w+)", name)
        if gpu is not None:
            return _MACHINES, f"gpu_{gpu[2]}", f"{host} {gpu[1]}"
        return _MACHINES, name, host
    if metric.startswith("share/"):
        return _SHARES, "share of the rows", metric.removeprefix("share/")
    group = next((group for group, names in _GROUPS if metric in names), _METRICS)
    return group, metric, "" if group not in ("Loss", _METRICS) else split


def _rank(title: str) -> tuple[int, str]:
    known = [name for _, names in _GROUPS for name in names]
    return (known.index(title) if title in known else -1), title


def _anomalies(run: Path) -> Iterator[Mark]:
    for line in _lines(run / EVENTS):
        try:
            event = json.loads(line)
            step, action = int(event["step"]), str(event["action"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        yield Mark(step, "anomaly", f"anomaly at step {step:,}{_value_of(event)} ({action})")


def _value_of(event: Mapping[str, Any]) -> str:
    """What was anomalous; earlier versions did not write it."""
    what, value = event.get("what"), event.get("value")
    if not isinstance(what, str):
        return ""
    # A value that is not finite is a text, because JSON has no number for it.
    return f": {what} {value:.4g}" if isinstance(value, int | float) else f": {what} {value}"


def _resumes(run: Path) -> Iterator[Mark]:
    for line in _lines(run / "train.log"):
        found = _RESUMED.search(line)
        if found is not None:
            yield Mark(int(found[1]), "resume", f"resumed from step {int(found[1]):,}")


def _lines(path: Path) -> list[str]:
    """The lines of a file of the run; none if it cannot be read."""
    try:
        return read_text(path, limit=_LOG_BYTES).splitlines()
    except (OSError, FileContentError):
        return []
