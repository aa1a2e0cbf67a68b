"""`ptm report`: one HTML page about a run, or about several runs side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptm.durations import clock
from ptm.errors import UserError
from ptm.escaping import escaped_block
from ptm.files.reading import MEGABYTE, FileContentError, read_text
from ptm.files.writing import write_file
from ptm.recipe.saved_files import RECIPE, read_environment, read_recipe_data
from ptm.runs.compare import compare
from ptm.runs.page.data import RunCurves, charts_of, run_curves
from ptm.runs.page.html import GENERATOR, page_html, table_section, text_section
from ptm.runs.status import RunStatus, run_status
from ptm.runs.report_diagnosis import STYLE, diagnosis_section
from ptm.runs.report_samples import STYLE as SAMPLES_STYLE
from ptm.runs.report_samples import samples_section
from ptm.train.diagnoses import read_diagnoses
from ptm.train.samples.record import read_samples

_PARAMETERS = re.compile(r": ([\d,]+) parameters")
_LOG_BYTES = 64 * MEGABYTE
_BEGIN = 4096
"""Bytes of a page that name the program that wrote it."""


def write_report(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write the page of one run, or of several; return its path.

    `out`: the file; default: `report.html` in the run's folder, or in the current folder for
    several runs. Raises UserError if a run is not one, or has no reports yet.
    """
    for run in runs:
        if not (run / RECIPE).exists():
            raise UserError(f'"{run}" is not a run: it has no recipe.yaml.')
    if len({run.resolve() for run in runs}) < len(runs):
        raise UserError("report: a run is given twice.")
    if out is not None and out.exists() and not _is_page(out):
        raise UserError(f"{out}: the file exists and is no page of `ptm report`. Give another name.")
    page = report_page(runs)
    path = out or (runs[0] / "report.html" if len(runs) == 1 else Path("report.html"))
    try:
        write_file(path, escaped_block(page))
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}.") from error
    return path


def _is_page(path: Path) -> bool:
    """Whether `ptm report` wrote the file, so that it may be replaced."""
    try:
        with path.open("rb") as file:
            return GENERATOR.encode() in file.read(_BEGIN)
    except OSError:
        return False


def report_page(runs: Sequence[Path]) -> str:
    """The HTML of the page. Raises UserError as `write_report`."""
    curves = [run_curves(run) for run in runs]
    if len(runs) == 1:
        return _single(runs[0], curves[0])
    return _several(runs, curves)


def _single(run: Path, curves: RunCurves) -> str:
    status = run_status(run)
    read_recipe_data(run / RECIPE)
    recipe = (run / RECIPE).read_text(encoding="utf-8")
    diagnoses = [diagnosis_section(one) for one in read_diagnoses(run)]
    sections = [
        f"<style>{STYLE}{SAMPLES_STYLE}</style>",
        samples_section(read_samples(run)),
        *diagnoses,
        table_section("Where it ran", ("", ""), _environment(run)),
        text_section("Recipe", recipe),
    ]
    return page_html(
        title=run.name,
        lead=_lead(status),
        cards={**_cards(status, curves), **_last_values(curves)},
        charts=charts_of([curves]),
        marks=curves.marks,
        sections=sections,
    )


def _several(runs: Sequence[Path], curves: Sequence[RunCurves]) -> str:
    found = compare(runs)
    names = [one.name for one in curves]
    differences = [
        (one.key, *("not set" if value is None else value for value in one.values))
        for one in found.differences
    ]
    last = [
        (f"{one.split} {one.metric}", *(_number(values[max(values)]) if values else "" for values in one.values))
        for one in found.series
    ]
    return page_html(
        title=", ".join(names),
        lead=f"{len(runs)} runs side by side",
        cards={name: run_status(run).state for name, run in zip(names, runs, strict=True)},
        charts=charts_of(curves),
        marks=(),
        sections=[
            table_section("What differs in the recipes", ("", *names), differences),
            table_section("Last values", ("", *names), last),
        ],
    )


def _lead(status: RunStatus) -> str:
    """What was trained, how far it came, and the command that trains it."""
    reason = f" ({status.reason})" if status.reason else ""
    return (
        f"{status.recipe} · {status.state}{reason} · trained again by: "
        f"ptm train {status.path / RECIPE} name=NAME"
    )


def _cards(status: RunStatus, curves: RunCurves) -> dict[str, str]:
    tokens = max(record.get("tokens", 0) for record in curves.records)
    steps = f"{status.step:,}" + (f" of {status.steps:,}" if status.steps else "")
    cards = {"steps": steps, "tokens without padding": f"{tokens:,}"}
    parameters = _parameters(status.path)
    if parameters is not None:
        cards["parameters"] = parameters
    seconds = _training_seconds(curves.records)
    if seconds:
        cards["time in training steps"] = clock(seconds)
    if status.tokens_per_second is not None:
        cards["tokens per second"] = f"{status.tokens_per_second:,.0f}"
    return cards


def _training_seconds(records: Sequence[Mapping[str, Any]]) -> float:
    """Seconds of all reported steps, without evaluations and saving."""
    total, before = 0.0, 0
    for record in records:
        if record["split"] == "train" and "step_seconds" in record:
            total += (record["step"] - before) * record["step_seconds"]
            before = record["step"]
    return total


def _last_values(curves: RunCurves) -> dict[str, str]:
    """Loss and metrics of the last report of each split, with the first ones of evaluations."""
    cards: dict[str, str] = {}
    for split in dict.fromkeys(record["split"] for record in curves.records):
        of_split = [record for record in curves.records if record["split"] == split]
        first, last = of_split[0], of_split[-1]
        for key, value in last.items():
            # The only term of a loss repeats it.
            if not _is_result(key, split) or (key.endswith("_loss") and value == last["loss"]):
                continue
            name = f"{split} {key.replace('_', ' ')}"
            cards[name] = "not measured" if value is None else _number(value)
            if value is not None and len(of_split) > 1 and isinstance(first.get(key), int | float):
                cards[name] = f"{_number(first[key])} → {_number(value)}"
    return cards


_NO_RESULTS = {"step", "split", "epoch", "rows", "examples", "tokens"}


def _is_result(key: str, split: str) -> bool:
    # An evaluation reports nothing but metrics, training also rates and times.
    return key not in _NO_RESULTS and (split != "train" or key.endswith(("loss", "accuracy")))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4f}"


def _parameters(run: Path) -> str | None:
    """The number of parameters, as the training logged it."""
    try:
        found = _PARAMETERS.search(read_text(run / "train.log", limit=_LOG_BYTES))
    except (OSError, FileContentError):
        return None
    return found[1] if found else None


def _environment(run: Path) -> list[tuple[str, str]]:
    environment = read_environment(run)
    if environment is None:
        return []
    hosts = ", ".join(f"{host} ({ranks})" for host, ranks in environment.hosts.items())
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    rows = [
        ("hosts (ranks)", hosts),
        ("last start", environment.time),
        ("python", environment.python),
        ("versions", versions),
    ]
    if environment.git_commit is not None:
        rows.append(("commit", environment.git_commit))
    return rows
