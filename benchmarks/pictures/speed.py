"""The picture of speeds beside other tools, from figures of benchmarks/README.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.pictures.svg import Picture

LEFT, LONGEST = 252, 330
ROW = 58
BAR = 18


def speed(data: Path) -> Picture:
    """A row per comparison: bars of ptm and of the other tool, and the ratio."""
    rows = json.loads(data.read_text(encoding="utf-8"))["rows"]
    ratios = [f"{one['what']}: {ratio(one)} times {one['tool']}" for one in rows]
    picture = Picture(
        title="Speed on two CPU cores beside other tools",
        subtitle="Longer is faster; each pair has its own scale. Commands: benchmarks/README.md",
        description="Bars of ptm and another tool on the same task. " + "; ".join(ratios) + ".",
        height=92 + ROW * len(rows),
    )
    for index, one in enumerate(rows):
        top = 82 + ROW * index
        picture.text((24, top + 14), one["what"], size=14, weight=600)
        picture.text((24, top + 32), one["unit"], colour="faint")
        sides = (("ptm", one["ptm"], "a"), (one["tool"], one["other"], "b"))
        largest = max(value_of(shown) for _, shown, _ in sides)
        for side, (name, shown, colour) in enumerate(sides):
            y = top + side * (BAR + 2)
            width = LONGEST * value_of(shown) / largest
            picture.bar((LEFT, y), width=width, height=BAR, colour=colour)
            picture.text((LEFT + width + 8, y + 13), f"{name} {shown}", colour=colour)
        picture.text((776, top + 25), f"{ratio(one)} ×", size=18, weight=600, anchor="end")
    return picture


def value_of(shown: str) -> float:
    """The number of a figure with separators of thousands."""
    return float(shown.replace(",", ""))


def ratio(row: dict[str, Any]) -> str:
    """The measured ratio, or that of the two figures."""
    return row["ratio"] or f"{value_of(row['ptm']) / value_of(row['other']):.1f}"
