"""`ptm runs`: the runs of a folder, with their states."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptm.cli.arguments import add_json
from ptm.cli.console import print_rendered, print_result
from ptm.durations import ago
from ptm.errors import EXIT_DONE, UserError
from ptm.escaping import escaped

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table

    from ptm.runs.status import RunStatus

NAME = "runs"
HELP = "list the runs of a folder with their states"
ORDER = 130

_COLUMNS = ("RUN", "STATE", "STEP", "SAVED", "LOSS", "EVAL", "TOKENS/S", "ACTIVE", "AGE", "RECIPE")
_NUMBERS = ("STEP", "SAVED", "LOSS", "EVAL", "TOKENS/S", "ACTIVE", "AGE")
_LEFT_OUT = ("RECIPE", "AGE", "SAVED", "TOKENS/S", "EVAL", "ACTIVE", "LOSS")
"""The columns that a narrow terminal does not show, the least important first."""
_NAME = 24
"""Columns for the names of runs; longer ones are broken if the terminal is narrow."""
_GAP = 2
_STYLES = {
    "running": "green",
    "stopped": "yellow",
    "died": "bold red",
    "done": "cyan",
    "damaged": "bold red",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dir",
        metavar="DIR",
        nargs="?",
        default="runs",
        type=Path,
        help="folder of runs (default runs)",
    )
    add_json(parser, "print the states as JSON")
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        nargs="?",
        const=2.0,
        type=float,
        help="on a terminal: refresh the table (default: every 2 seconds) until Ctrl-C",
    )


def run(parsed: argparse.Namespace) -> int:
    from ptm.runs.status import run_statuses

    if parsed.watch is not None:
        return _watch(parsed)
    found = run_statuses(parsed.dir)
    if parsed.json:
        print_result(json.dumps([_as_json(one) for one in found]))
    elif not found:
        print_result(f"{parsed.dir}: no runs")
    else:
        from ptm.cli.tables import console_for, rendered

        print_rendered(rendered(_table(found, console_for().width)))
        for one in found:
            if one.reason:
                print_result(_reason(one))
    return EXIT_DONE


def _watch(parsed: argparse.Namespace) -> int:
    from ptm.cli.tables import console_for
    from ptm.runs.status import run_statuses

    console = console_for()
    if parsed.json or not sys.stdout.isatty():
        raise UserError("--watch refreshes a table on a terminal. Leave out --watch.")
    if parsed.watch <= 0:
        raise UserError(f"--watch {parsed.watch:g}: must be more than 0 seconds.")
    from rich.live import Live

    found = run_statuses(parsed.dir)
    with Live(fitting_table(found, console), console=console, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(parsed.watch)
                live.update(fitting_table(run_statuses(parsed.dir), console), refresh=True)
        except KeyboardInterrupt:
            return EXIT_DONE


def fitting_table(found: Sequence[RunStatus], console: Console) -> Group:
    """The table of as many runs as the terminal has lines for, and their reasons.

    Those that are running come before others, and newer ones before older ones.
    """
    ranked = sorted(range(len(found)), key=lambda at: (found[at].state != "running", -at))
    room = console.height - 1
    for count in range(min(len(found), room), 0, -1):
        view = _view(found, sorted(ranked[:count]), console.width)
        if len(console.render_lines(view, pad=False)) <= room:
            return view
    return _view(found, sorted(ranked[:1]), console.width)


def _view(found: Sequence[RunStatus], shown: Sequence[int], width: int) -> Group:
    """The table of some runs, the number of the others, and the reasons of the runs shown."""
    from rich.console import Group
    from rich.text import Text

    some, more = [found[at] for at in shown], len(found) - len(shown)
    lines = [f"{more} more"] if more else []
    lines += [_reason(one) for one in some if one.reason]
    return Group(_table(some, width), *(Text(escaped(line)) for line in lines))


def _reason(one: RunStatus) -> str:
    return f"{one.path}: {one.state}: {one.reason}"


def _table(found: Sequence[RunStatus], width: int) -> Table:
    from ptm.cli.tables import Cell, table, width_of

    now = time.time()
    rows: list[tuple[Cell | str, ...]] = [
        (
            str(one.path.name),
            Cell(one.state, _STYLES[one.state]),
            _progress(one),
            "" if one.saved_step is None else str(one.saved_step),
            _loss(one, "train"),
            _loss(one, None),
            "" if one.tokens_per_second is None else f"{one.tokens_per_second:,.0f}",
            "" if one.last_activity is None else f"{ago(now - one.last_activity)} ago",
            "" if one.started is None else ago(now - one.started),
            Cell(one.recipe, "dim"),
        )
        for one in found
    ]
    widths = dict(zip(_COLUMNS, width_of(_COLUMNS, rows), strict=True))
    widths["RUN"] = min(_NAME, widths["RUN"])
    shown = _fitting(widths, width)
    picked = [
        [cell for name, cell in zip(_COLUMNS, row, strict=True) if name in shown] for row in rows
    ]
    return table(shown, picked, right=_NUMBERS, whole=["STATE"])


def _fitting(widths: dict[str, int], room: int) -> list[str]:
    """The columns that fit into `room`, in their order."""
    shown = list(widths)
    for name in _LEFT_OUT:
        if sum(widths[one] + _GAP for one in shown) - _GAP <= room:
            break
        shown.remove(name)
    return shown


def _progress(one: RunStatus) -> str:
    if one.state == "damaged":
        return ""
    share = "" if one.share is None else f" {100 * one.share:3.0f} %"
    return f"{one.step}/{one.steps or '?'}{share}"


def _loss(one: RunStatus, split: str | None) -> str:
    """The last loss of a split; None: that of the first evaluation set."""
    losses = one.losses or {}
    names = [name for name in losses if name != "train"] if split is None else [split]
    return f"{losses[names[0]]:.4f}" if names and names[0] in losses else ""


def _as_json(one: RunStatus) -> dict[str, Any]:
    return {
        "run": str(one.path),
        "state": one.state,
        "reason": one.reason or None,
        "step": one.step,
        "steps": one.steps,
        "saved_step": one.saved_step,
        "losses": dict(one.losses or {}),
        "tokens_per_second": one.tokens_per_second,
        "last_activity": one.last_activity,
        "started": one.started,
        "recipe": one.recipe,
    }
