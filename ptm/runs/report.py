"""`ptm report`: one HTML page about a run, or about several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ptm.errors import UserError
from ptm.escaping import escaped_block
from ptm.files.writing import write_file
from ptm.recipe.saved_files import RECIPE, read_environment
from ptm.runs.compare import Series, compare
from ptm.runs.page.corpus import data_overview, data_section
from ptm.runs.page.damage import damage_section, log_damage
from ptm.runs.page.data import RunCurves, charts_of, nearly_equal, run_curves
from ptm.runs.page.headline import headline, last_values, number, summary
from ptm.runs.page.html import GENERATOR, page_html, pairs_list, table_section
from ptm.runs.page.recipe import recipe_section, shown_value
from ptm.runs.report_diagnosis import diagnosis_section
from ptm.runs.report_samples import STYLE, samples_section
from ptm.runs.status import run_status
from ptm.train.diagnoses import read_diagnoses
from ptm.train.samples.record import read_samples

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
        raise UserError(
            f"{out}: the file exists and is no page of `ptm report`. Give another name."
        )
    page = report_page(runs)
    log_damage(runs)
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
    """The HTML of the page, without what is damaged. Raises UserError as `write_report`."""
    curves = [run_curves(run) for run in runs]
    if len(runs) == 1:
        return _single(runs[0], curves[0])
    return _several(runs, curves)


def _single(run: Path, curves: RunCurves) -> str:
    status = run_status(run)
    diagnoses = [diagnosis_section(one) for one in read_diagnoses(run, damage=[])]
    sections = [
        f"<style>{STYLE}</style>",
        damage_section([run]),
        samples_section(read_samples(run, damage=[])),
        *diagnoses,
        data_section(run),
        recipe_section(run),
        f"<h2>Environment</h2>{pairs_list(_environment(run))}",
    ]
    return page_html(
        title=run.name,
        lead=f"{status.state} ({status.reason})" if status.reason else status.state,
        head=headline(status, curves.records),
        cards=last_values(curves.records),
        charts=charts_of([curves]),
        marks=curves.marks,
        sections=sections,
    )


def _several(runs: Sequence[Path], curves: Sequence[RunCurves]) -> str:
    found = compare(runs, damage=[])
    names = [one.name for one in curves]
    differences = [
        (one.key, *(shown_value(value, "not set") for value in one.values))
        for one in found.differences
    ]
    last = [
        (
            f"{one.split} {one.metric.replace('_', ' ')}",
            *(number(values[max(values)]) if values else "" for values in one.values),
        )
        for one in found.series
        if not _repeats_loss(one, found.series)
    ]
    return page_html(
        title=", ".join(names),
        lead=f"{len(runs)} runs side by side",
        head=[
            (one.name, summary(run_status(run), one.records))
            for one, run in zip(curves, runs, strict=True)
        ],
        cards={},
        charts=charts_of(curves),
        marks=[
            replace(mark, text=f"{one.name}: {mark.text}") for one in curves for mark in one.marks
        ],
        sections=[
            damage_section(runs),
            table_section("Differences of the recipes", ("", *names), differences),
            table_section("Last values", ("", *names), last),
            data_overview(runs),
        ],
    )


def _repeats_loss(one: Series, others: Sequence[Series]) -> bool:
    """Whether a series is the only term of the loss of its split."""
    loss = next((s for s in others if (s.split, s.metric) == (one.split, "loss")), None)
    return one.metric.endswith("_loss") and loss is not None and _are_same(one, loss)


def _are_same(one: Series, other: Series) -> bool:
    """Whether two series have the same values at the same steps in all runs, but for rounding."""
    return all(
        some.keys() == others.keys()
        and all(nearly_equal(value, others[step]) for step, value in some.items())
        for some, others in zip(one.values, other.values, strict=True)
    )


def _environment(run: Path) -> list[tuple[str, str]]:
    environment = read_environment(run, damage=[])
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
