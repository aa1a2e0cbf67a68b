"""Titles, units, colours and dashes of the charts of a report page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

COLOURS = ("#2f81f7", "#d29922", "#3fb950", "#a371f7", "#f778ba", "#39c5cf", "#f0883e", "#8b949e")
"""Legible on white and on black."""
DASHES: tuple[tuple[int, ...], ...] = ((), (6, 3), (2, 3), (8, 3, 2, 3))
_TITLES = {
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm before clipping",
    "model_tflops": "model TFLOP/s",
    "mfu": "MFU",
    "hfu": "HFU",
    "step_seconds": "time per step",
    "data_wait_seconds": "waiting for data",
    "save_seconds": "waiting for checkpoints",
    "memory_bytes": "memory of a rank",
}
_UNITS = (
    ("_bytes_per_second", "B/s"),
    ("_bytes", "B"),
    ("_seconds", "s"),
    ("_percent", "%"),
)
"""Ends of metric names that are units."""


@dataclass(frozen=True)
class Style:
    """The colour and the dash of a line."""

    colour: str
    dash: tuple[int, ...] = ()


def title_of(metric: str) -> str:
    """The title of the chart of a metric, with its unit unless the axis has it."""
    unit = next(((end, unit) for end, unit in _UNITS if metric.endswith(end)), None)
    if metric in _TITLES:
        title = _TITLES[metric]
    else:
        title = (metric.removesuffix(unit[0]) if unit else metric).replace("_", " ")
    return f"{title} ({unit[1]})" if unit and not unit[1].startswith("B") else title


def unit_of(metric: str) -> str:
    """The unit that the ticks of the axis have: `B`, `B/s`, or none."""
    return next((unit for end, unit in _UNITS if metric.endswith(end) and unit[0] == "B"), "")


def styles_of(owners: Sequence[int]) -> list[Style]:
    """The styles of the lines of one chart; `owners`: the number of the run of each line.

    Lines of one run: a colour each. Lines of several runs: a colour per run and a dash per line of
    the run, or, if a run has more lines than dashes exist, a colour per line and a dash per run.
    """
    if len(set(owners)) < 2:
        return [Style(colour) for colour in islice(cycle(COLOURS), len(owners))]
    places = [owners[:at].count(owner) for at, owner in enumerate(owners)]
    if max(places) >= len(DASHES):
        return [
            Style(COLOURS[at % len(COLOURS)], DASHES[owner % len(DASHES)])
            for at, owner in enumerate(owners)
        ]
    return [
        Style(COLOURS[owner % len(COLOURS)], DASHES[place])
        for owner, place in zip(owners, places, strict=True)
    ]
