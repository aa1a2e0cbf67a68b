"""Tables of an HTML page, with bars of inline SVG that fit any width. All texts are escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bars:
    """A table cell with one bar per share in [0, 1], each in the colour of its series."""

    shares: tuple[float, ...]


@dataclass(frozen=True)
class Text:
    """A table cell with text of the corpus, which may be long; other cells hold short values."""

    text: str


Cell = str | Bars | Text


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]], *, marked: int = -1) -> str:
    """A table; `marked`: the number of a row that is emphasised."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join(
        f"<tr{' class=own' if number == marked else ''}>{''.join(map(_cell, row))}</tr>"
        for number, row in enumerate(rows)
    )
    head = f"<thead><tr>{head}</tr></thead>" if any(header) else ""
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'


def _cell(cell: Cell) -> str:
    if isinstance(cell, Bars):
        return f'<td class="bars">{"".join(map(_bar, range(len(cell.shares)), cell.shares))}</td>'
    if isinstance(cell, Text):
        return f'<td class="text">{html.escape(cell.text)}</td>'
    return f"<td>{html.escape(cell)}</td>"


def _bar(series: int, share: float) -> str:
    # A share that is not 0 stays visible.
    width = max(0.5, 100 * share) if share else 0.0
    return (
        '<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="series{series}" width="{width:.2f}" height="1"/></svg>'
    )


def legend(names: Sequence[str]) -> str:
    """The colours of the series of `Bars`."""
    items = "".join(
        f'<span><svg viewBox="0 0 1 1"><rect class="series{number}" width="1" height="1"/></svg> '
        f"{html.escape(name)}</span>"
        for number, name in enumerate(names)
    )
    return f'<p class="legend">{items}</p>'


def tiles(values: Iterable[tuple[str, str]]) -> str:
    """Headline numbers: (name, value)."""
    items = "".join(
        f"<div><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>"
        for name, value in values
    )
    return f'<div class="tiles">{items}</div>'


def paragraph(text: str, *, kind: str = "") -> str:
    """A paragraph of the CSS class `kind`."""
    of_class = f' class="{kind}"' if kind else ""
    return f"<p{of_class}>{html.escape(text)}</p>"
