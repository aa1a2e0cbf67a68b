"""`ptm compare`: the recipes and metrics of runs side by side."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ptm.cli.arguments import add_json
from ptm.cli.console import print_rendered, print_result
from ptm.errors import EXIT_DONE, UserError

if TYPE_CHECKING:
    from ptm.runs.compare import Comparison, Series

NAME = "compare"
HELP = "print how the recipes and the metrics of runs differ"
ORDER = 133

_STEPS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="two or more runs")
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="show this metric alone, such as mlm_accuracy (default: the losses and the last "
        "values of all metrics of the evaluation sets)",
    )
    parser.add_argument(
        "--steps",
        metavar="N",
        type=int,
        default=_STEPS,
        help=f"number of steps that are shown (default {_STEPS})",
    )
    add_json(parser, "print the differences and all values as JSON")


def run(parsed: argparse.Namespace) -> int:
    from ptm.runs.compare import compare

    if parsed.steps < 2:
        raise UserError(f"--steps {parsed.steps}: must be at least 2.")
    found = compare(parsed.runs)
    if parsed.json:
        print_result(json.dumps(_as_json(found)))
        return EXIT_DONE
    series = [one for one in found.series if parsed.metric in (None, one.metric)]
    if not series and parsed.metric:
        known = ", ".join(sorted({one.metric for one in found.series})) or "none"
        raise UserError(
            f'--metric "{parsed.metric}": the runs do not report it. Reported: {known}.'
        )
    _print_differences(found)
    for one in series:
        if parsed.metric or one.metric == "loss":
            _print_series(found, one, parsed.steps)
    if parsed.metric is None:
        _print_last(found)
    return EXIT_DONE


def _names(found: Comparison) -> list[str]:
    """The names of the runs, or their paths if two have the same name."""
    names = [run.name for run in found.runs]
    return names if len(set(names)) == len(names) else [str(run) for run in found.runs]


def _print_differences(found: Comparison) -> None:
    from ptm.cli.tables import Cell, rendered, table

    if not found.differences:
        print_result("recipes: equal")
        return
    rows = [
        (one.key, *(Cell("not set", "dim") if value is None else value for value in one.values))
        for one in found.differences
    ]
    print_rendered(rendered(table(["RECIPE", *_names(found)], rows, whole=["RECIPE"])))


def _print_series(found: Comparison, series: Series, steps: int) -> None:
    from ptm.cli.tables import Cell, rendered, table
    from ptm.runs.compare import common_steps

    names = _names(found)
    rows = [
        [str(step), *(Cell("", "dim") if value is None else f"{value:.4f}" for value in values)]
        for step, values in series.at(common_steps(series, most=steps))
    ]
    print_result("")
    title = f"{series.split} {series.metric}".upper()
    print_rendered(rendered(table([title, *names], rows, right=(title, *names))))


def _print_last(found: Comparison) -> None:
    """The last value of every metric; nothing if the losses are all that there is."""
    from ptm.cli.tables import rendered, table

    names = _names(found)
    rows = []
    for one in found.series:
        last = [values[max(values)] if values else None for values in one.values]
        digits = 0 if one.metric == "tokens_per_second" else 4
        cells = ["" if value is None else f"{value:,.{digits}f}" for value in last]
        rows.append([f"{one.split} {one.metric}", *cells])
    print_result("")
    print_rendered(rendered(table(["LAST VALUE", *names], rows, right=names)))


def _as_json(found: Comparison) -> dict[str, object]:
    return {
        "runs": [str(run) for run in found.runs],
        "differences": [asdict(one) for one in found.differences],
        "series": [asdict(one) for one in found.series],
    }
