"""The HTML of a report page: one file without network access, readable on a phone and on paper."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from ptm.counted import counted
from ptm.runs.page.data import Chart, Line, Mark

_ASSETS = Path(__file__).parent / "assets"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
GENERATOR = '<meta name="generator" content="ptm report">'
"""Marks a file as a page that ptm may replace."""
_FEW_MARKS = 12
_TOOLS = """<div class="tools">
<label>smoothing <input id="smoothing" type="range" min="0" max="0.98" step="0.02" value="0"></label>
<label><input id="log" type="checkbox"> log scale</label>
{marks}<small>Evaluations are never smoothed. Point at a chart for the values of a step. Drag to zoom,
double-click to zoom out.</small></div>"""


def page_html(
    *,
    title: str,
    lead: str,
    head: Sequence[tuple[str, str]],
    cards: Mapping[str, str],
    charts: Sequence[Chart],
    marks: Sequence[Mark],
    sections: Iterable[str],
) -> str:
    """The whole page.

    `lead`: the state. `head`: names and texts of the headline. `sections`: HTML that follows the
    charts.
    """
    data = {
        "charts": [
            {"unit": chart.unit, "lines": [asdict(line) for line in chart.lines]}
            for chart in charts
        ],
        "marks": [asdict(mark) for mark in marks],
    }
    # A script element ends at the first `</`, also inside a string.
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    styles = "".join(
        f"<style>{_asset(name)}</style>" for name in ("uPlot.min.css", "page.css", "sections.css")
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"{GENERATOR}"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title>{styles}</head><body>"
        f'<h1>{html.escape(title)}</h1><p class="lead">{html.escape(lead)}</p>{pairs_list(head)}'
        f'<div class="cards">{"".join(_card(name, value) for name, value in cards.items())}</div>'
        f"{_charts(charts, marks)}{_marks(marks)}{''.join(sections)}"
        f'<script type="application/json" id="data">{text}</script>'
        f"<script>{_asset('uPlot.iife.min.js')}</script><script>{_asset('page.js')}</script>"
        "</body></html>\n"
    )


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def pairs_list(lines: Sequence[tuple[str, str]]) -> str:
    """Names and texts below each other; on a phone each text is below its name."""
    rows = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{_line(name, text)}</dd>" for name, text in lines
    )
    return f'<dl class="head">{rows}</dl>' if rows else ""


def _line(name: str, text: str) -> str:
    return f"<code>{html.escape(text)}</code>" if name == "Command" else html.escape(text)


def _card(name: str, value: str) -> str:
    return f'<div class="card"><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>'


def _charts(charts: Sequence[Chart], marks: Sequence[Mark]) -> str:
    parts = []
    numbered = enumerate(charts)
    for group, members in groupby(numbered, key=lambda pair: pair[1].group):
        figures = "".join(_figure(number, chart) for number, chart in members)
        parts.append(f'<h2>{html.escape(group)}</h2><div class="charts">{figures}</div>')
    if not parts:
        return "<p>The reports have no values to draw.</p>"
    kinds = dict.fromkeys(mark.kind for mark in marks)
    keys = "".join(f'<span class="mark {kind}">{html.escape(kind)}</span>' for kind in kinds)
    return _TOOLS.format(marks=keys) + "".join(parts)


def _figure(number: int, chart: Chart) -> str:
    keys = "".join(
        f"<span>{_key(line)}{html.escape(line.name)}<b></b></span>" for line in chart.lines
    )
    return (
        f'<figure data-chart="{number}"><figcaption>{html.escape(chart.title)} '
        f'<small class="at"></small></figcaption><div class="keys">{keys}</div>'
        '<div class="plot"></div></figure>'
    )


def _key(line: Line) -> str:
    """The colour and dash beside the name of a line; a chart with one line may have no name."""
    if not line.name:
        return ""
    dash = f' stroke-dasharray="{" ".join(map(str, line.dash))}"' if line.dash else ""
    return (
        '<svg viewBox="0 0 22 4" aria-hidden="true">'
        f'<path d="M0 2H22" stroke="{line.colour}" stroke-width="3"{dash}/></svg>'
    )


def _marks(marks: Sequence[Mark]) -> str:
    if not marks:
        return ""
    rows = "".join(f'<li class="mark {mark.kind}">{html.escape(mark.text)}</li>' for mark in marks)
    return (
        f"<h2>Events</h2><details{' open' if len(marks) <= _FEW_MARKS else ''}><summary>"
        f"{counted(len(marks), 'event, a vertical line', 'events, the vertical lines')} of the charts</summary>"
        f'<ul class="events">{rows}</ul></details>'
    )


def table_section(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A section with a table."""
    return f"<h2>{html.escape(title)}</h2>{subtable(head, rows)}"


def subtable(head: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "plain") -> str:
    """A table without a heading, which scrolls sideways where it is wider than the page.

    `kind`: its class in the styles. `counts`: a name and numbers. `texts`: short columns that do
    not wrap, and a text in the last one, which has the rest of the width.
    """
    names = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    top = f"<tr>{names}</tr>" if any(head) else ""
    return f'<div class="scroll"><table class="{kind}">{top}{body}</table></div>'
