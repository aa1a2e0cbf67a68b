"""A panel of a picture: two axes with ticks and a grid, and curves with their names at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.pictures.svg import Picture, Point

NAME_HEIGHT = 17
"""Least vertical distance between the names of two curves, in pixels."""
TICKS = 6
"""About this many ticks per axis."""


@dataclass(frozen=True)
class Box:
    """Edges of a panel in pixels."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Curve:
    """A named series of (x, y) in the units of the axes."""

    name: str
    points: Sequence[Point]
    colour: str
    dashes: str = ""
    width: float = 2


class Panel:
    """Axes from `x_range` and `y_range` (lowest, highest) in a box of a picture."""

    def __init__(
        self, picture: Picture, box: Box, *, x_range: Point, y_range: Point, labels: tuple[str, str]
    ) -> None:
        """Draw the axes. `labels`: of x, below the axis, and of y, above it."""
        self.picture = picture
        self.box = box
        self._x, self._y = x_range, y_range
        for value in ticks(*y_range):
            y = self.place((x_range[0], value))[1]
            picture.line([(box.left, y), (box.right, y)], "grid", width=1)
            picture.text((box.left - 8, y + 4), shown(value), colour="faint", anchor="end")
        for value in ticks(*x_range):
            x = self.place((value, y_range[0]))[0]
            picture.line([(x, box.bottom), (x, box.bottom + 4)], "faint", width=1)
            picture.text((x, box.bottom + 19), shown(value), colour="faint", anchor="middle")
        picture.line([(box.left, box.bottom), (box.right, box.bottom)], "faint", width=1)
        middle = (box.left + box.right) / 2
        picture.text((middle, box.bottom + 38), labels[0], colour="faint", anchor="middle")
        if labels[1]:
            picture.text((box.left, box.top - 12), labels[1], colour="faint")

    def place(self, point: Point) -> Point:
        """The pixel of a point of the axes."""
        across = (point[0] - self._x[0]) / (self._x[1] - self._x[0])
        up = (point[1] - self._y[0]) / (self._y[1] - self._y[0])
        box = self.box
        return (
            box.left + across * (box.right - box.left),
            box.bottom - up * (box.bottom - box.top),
        )

    def draw(self, curves: Sequence[Curve], *, named: bool = True) -> None:
        """Draw curves; with `named`, their names stand right of their last points."""
        ends = []
        for curve in curves:
            points = [self.place(point) for point in curve.points if self._contains(point)]
            self.picture.line(points, curve.colour, width=curve.width, dashes=curve.dashes)
            ends.append(points[-1])
        if not named:
            return
        heights = apart([y for _, y in ends])
        for curve, (x, _), height in zip(curves, ends, heights, strict=True):
            at = (x + 8, height + 4)
            self.picture.text(at, curve.name, size=13, colour=curve.colour, weight=600, halo=True)

    def level(self, value: float, name: str, *, left: bool = False) -> None:
        """Draw a dotted horizontal line with a name above its right end or below its left end."""
        y = self.place((self._x[0], value))[1]
        self.picture.line([(self.box.left, y), (self.box.right, y)], "faint", dashes="2 4")
        if left:
            self.picture.text((self.box.left + 6, y + 17), name, colour="faint")
        else:
            self.picture.text((self.box.right - 4, y - 6), name, colour="faint", anchor="end")

    def _contains(self, point: Point) -> bool:
        return self._y[0] <= point[1] <= self._y[1]


def ticks(lowest: float, highest: float) -> list[float]:
    """Round values between two ends, about six."""
    rough = (highest - lowest) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first = math.ceil(lowest / step - 1e-9)
    last = math.floor(highest / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def shown(value: float) -> str:
    """A tick's value without needless digits."""
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def apart(heights: list[float]) -> list[float]:
    """Heights moved apart so that names at these heights do not overlap, in the same order."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    moved = list(heights)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + NAME_HEIGHT)
    shift = (sum(heights) - sum(moved)) / len(heights) if heights else 0.0
    return [height + shift for height in moved]
