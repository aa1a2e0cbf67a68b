"""The picture of a training that faults struck."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.pictures.panel import Box, Curve, Panel
from benchmarks.pictures.svg import Picture, Point

SHORT = {
    "kill -9 of a rank": "kill -9 of a rank",
    "kill -9 of the launcher": "kill -9 of the launcher",
    "kill -9 of everything": "kill -9 of all processes",
    "SIGTERM to a rank": "SIGTERM",
    "SIGUSR1 to a rank": "SIGUSR1",
    "full disk": "full disk",
    "checkpoints cannot be written": "unwritable folder",
    "newest checkpoint truncated": "truncated checkpoint",
    "newest checkpoint bit-flipped": "flipped bit in a checkpoint",
    "newest manifest removed": "missing manifest",
}
"""Name of a fault in the log -> its name in the picture."""
COLUMNS = 3
CLOSE = 16
"""Numbers of faults with less distance than this, in pixels, would touch."""


def storm(data: Path) -> Picture:
    """Both curves on each other, with a numbered mark at each fault and the list of faults."""
    found = json.loads(data.read_text(encoding="utf-8"))
    calm, struck, strikes = found["calm"], found["storm"], found["faults"]
    largest = max(abs(one - other) for one, other in zip(calm, struck, strict=True))
    same = "every loss is the same" if not largest else f"losses differ by at most {largest:.1e}"
    rows = -(-len(strikes) // COLUMNS)
    picture = Picture(
        title=f"{len(strikes)} faults in {len(struck)} steps: {same}",
        subtitle="Two ranks, ZeRO 1, dropout; after each fault the same command was run again",
        description=f"Training loss of an undisturbed run and of a run that {len(strikes)} faults "
        f"struck, over {len(struck)} steps; {same}. The faults: "
        + ", ".join(f"{SHORT[one['fault']]} at step {one['step']}" for one in strikes)
        + ".",
        height=430 + 20 * rows,
    )
    values = [*calm, *struck]
    low, high = min(values), max(values)
    panel = Panel(
        picture,
        Box(left=64, top=128, right=650, bottom=370),
        x_range=(0, len(struck)),
        y_range=(low - 0.05 * (high - low), high + 0.05 * (high - low)),
        labels=("step", ""),
    )
    picture.text((64, 84), "training loss, nats; red: a fault", colour="faint")
    marks: list[tuple[Point, str]] = []
    heights = levels([panel.place((one["step"], low))[0] for one in strikes])
    for index, (one, level) in enumerate(zip(strikes, heights, strict=True)):
        x, bottom = panel.place((one["step"], low))[0], panel.box.bottom
        top = panel.box.top - 14 * level
        picture.line([(x, top + 4), (x, bottom)], "x", width=1, dashes="3 3")
        marks.append(((x, top), str(index + 1)))
    for at, words in marks:
        picture.text(at, words, colour="x", anchor="middle", weight=600, halo=True)
    panel.draw(
        [
            Curve("undisturbed", list(enumerate(calm, 1)), "b", width=5),
            Curve("with faults", list(enumerate(struck, 1)), "a", width=1.5),
        ]
    )
    for index, one in enumerate(strikes):
        column, row = divmod(index, rows)
        at = (40 + column * 250, 436 + 20 * row)
        picture.text(at, str(index + 1), colour="x", weight=600, anchor="end")
        picture.text((at[0] + 8, at[1]), f"{SHORT[one['fault']]}, step {one['step']}")
    return picture


def levels(places: list[float]) -> list[int]:
    """The lowest level for each number at which it does not touch a number before it."""
    found: list[int] = []
    for place in places:
        taken = {
            level for level, other in zip(found, places, strict=False) if abs(place - other) < CLOSE
        }
        found.append(next(level for level in range(len(places)) if level not in taken))
    return found
