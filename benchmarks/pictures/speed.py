"""The picture of speeds beside other tools, from figures of benchmarks/README.md."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.pictures.svg import Picture

LEFT, LONGEST = 252, 330
ROW = 58
BAR = 18


def speed(data: Path) -> Picture:
    """A row per comparison: bars of ptm and of the other tool, and the ratio."""
    found = json.loads(data.read_text(encoding="utf-8"))
    rows = found["rows"]
    ratios = [f"{one['what']}: {one['ptm'] / one['other']:.2f} times {one['tool']}" for one in rows]
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
        largest = max(one["ptm"], one["other"])
        for side, (name, value, colour) in enumerate(sides):
            y = top + side * (BAR + 2)
            width = LONGEST * value / largest
            picture.bar((LEFT, y), width=width, height=BAR, colour=colour)
            label = f"{name} {value:,.{one['digits']}f}"
            picture.text((LEFT + width + 8, y + 13), label, colour=colour)
        ratio = f"{one['ptm'] / one['other']:.2f} ×"
        picture.text((776, top + 25), ratio, size=18, weight=600, anchor="end")
    return picture
