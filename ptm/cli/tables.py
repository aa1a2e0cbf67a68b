"""Tables and coloured text on a terminal; plain columns elsewhere, and with NO_COLOR."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from ptm.escaping import escaped

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_ENDLESS = 10_000
"""Columns of an output that is not a terminal: no line is broken there."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table. `style`: colour and weight as in rich, such as `bold red`."""

    text: str
    style: str = ""


def console_for(stream: TextIO | None = None) -> Console:
    """A console on `stream` (default: standard output). Without a terminal, no line is broken."""
    from rich.console import Console

    target = stream or sys.stdout
    return Console(
        file=target,
        width=None if target.isatty() else _ENDLESS,
        highlight=False,
        markup=False,
        emoji=False,
    )


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell | str]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> Table:
    """A table without lines. `right`: names of the columns that are aligned right.

    Cells of other columns are broken where the terminal is too narrow, except for those of the
    columns `whole`.
    """
    from rich.table import Table
    from rich.text import Text

    found = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        found.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=name in right or name in whole,
            overflow="ellipsis" if name in right else "fold",
        )
    for row in rows:
        cells = [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]
        found.add_row(*(Text(escaped(cell.text), style=cell.style) for cell in cells))
    return found


def width_of(columns: Sequence[str], rows: Sequence[Sequence[Cell | str]]) -> list[int]:
    """The terminal columns that each column of a table takes if no cell is broken."""
    from rich.cells import cell_len

    texts = [[cell.text if isinstance(cell, Cell) else cell for cell in row] for row in rows]
    return [
        max(cell_len(name), *(cell_len(escaped(row[at])) for row in texts)) if texts else len(name)
        for at, name in enumerate(columns)
    ]


def rendered(found: Table) -> str:
    """A table as text, with colours if standard output is a terminal."""
    console = console_for()
    with console.capture() as capture:
        console.print(found)
    # rich fills cells up to the width of their column.
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
