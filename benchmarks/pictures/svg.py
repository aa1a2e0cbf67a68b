"""An SVG picture that can be read on light and on dark pages.

The picture brings its own background, and its colours follow `prefers-color-scheme`. So its text
has contrast on every page, also where the page and the system do not agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

WIDTH = 800
FONT = "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"
SMALLEST = 12
"""Font size in pixels of the smallest text."""
LIGHT = {
    "page": "#ffffff",
    "ink": "#1f2328",
    "faint": "#59636e",
    "grid": "#d8dee4",
    "a": "#0969da",
    "b": "#bc4c00",
    "c": "#1a7f37",
    "d": "#8250df",
    "x": "#cf222e",
}
"""Colours by role: `a` to `d` are series, `x` marks faults."""
DARK = {
    "page": "#0d1117",
    "ink": "#f0f6fc",
    "faint": "#9198a1",
    "grid": "#2d333b",
    "a": "#4493f8",
    "b": "#f0883e",
    "c": "#3fb950",
    "d": "#ab7df8",
    "x": "#ff7b72",
}
Point = tuple[float, float]


def style_sheet() -> str:
    """Classes: `COLOUR` fills, `COLOUR-line` strokes without filling."""
    plain = [f"text{{font:{SMALLEST}px {FONT};fill:var(--ink)}}"]
    for name in LIGHT:
        plain.append(f".{name}{{fill:var(--{name})}}")
        plain.append(f".{name}-line{{fill:none;stroke:var(--{name})}}")
    light, dark = (
        ";".join(f"--{name}:{value}" for name, value in colours.items())
        for colours in (LIGHT, DARK)
    )
    schemes = f"svg{{{light}}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}"
    return schemes + "".join(plain)


def number(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


class Picture:
    """A picture of 800 pixels width with a heading; positions are pixels from the top left."""

    def __init__(self, *, title: str, subtitle: str, description: str, height: int) -> None:
        """`description`: what the picture shows, for screen readers."""
        self.title = title
        self.description = description
        self.height = height
        self._parts: list[str] = []
        self.text((24, 34), title, size=18, weight=600)
        self.text((24, 56), subtitle, size=13, colour="faint")

    def text(
        self,
        at: Point,
        words: str,
        *,
        size: int = SMALLEST,
        colour: str = "ink",
        anchor: str = "start",
        weight: int = 400,
        halo: bool = False,
    ) -> None:
        """Write one line. `anchor`: start, middle or end. `halo`: keeps lines behind it away."""
        assert size >= SMALLEST, f"text of {size} pixels is too small"
        chosen = [f"font-size:{size}px"] if size != SMALLEST else []
        chosen += [f"font-weight:{weight}"] if weight != 400 else []
        chosen += ["paint-order:stroke;stroke:var(--page);stroke-width:4px"] if halo else []
        look = f' style="{";".join(chosen)}"' if chosen else ""
        side = f' text-anchor="{anchor}"' if anchor != "start" else ""
        x, y = map(number, at)
        content = escape(words, quote=False)
        self._parts.append(f'<text x="{x}" y="{y}" class="{colour}"{side}{look}>{content}</text>')

    def line(
        self, points: Sequence[Point], colour: str, *, width: float = 2, dashes: str = ""
    ) -> None:
        """Join points by straight lines."""
        path = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._parts.append(
            f'<path d="{path}" class="{colour}-line" stroke-width="{number(width)}" '
            f'stroke-linejoin="round"{dashed}/>'
        )

    def bar(self, at: Point, *, width: float, height: float, colour: str) -> None:
        """Fill a rectangle whose top left corner is `at`."""
        self._parts.append(
            f'<rect x="{number(at[0])}" y="{number(at[1])}" width="{number(width)}" '
            f'height="{number(height)}" rx="2" class="{colour}"/>'
        )

    def dot(self, at: Point, colour: str, *, radius: float = 3, label: str = "") -> None:
        """Draw a filled circle; `label` is shown by browsers while the pointer is on it."""
        hint = f"<title>{escape(label, quote=False)}</title>" if label else ""
        self._parts.append(
            f'<circle cx="{number(at[0])}" cy="{number(at[1])}" r="{number(radius)}" '
            f'class="{colour}">{hint}</circle>'
        )

    def content(self) -> str:
        """The text of the SVG file."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" '
            f'width="{WIDTH}" height="{self.height}" role="img" aria-labelledby="title desc">\n'
            f'<title id="title">{escape(self.title, quote=False)}</title>\n'
            f'<desc id="desc">{escape(self.description, quote=False)}</desc>\n'
            f"<style>{style_sheet()}</style>\n"
            f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{self.height - 1}" rx="8" '
            'style="fill:var(--page);stroke:var(--grid)"/>\n'
            + "\n".join(self._parts)
            + "\n</svg>\n"
        )

    def save(self, path: Path) -> None:
        """Write the file."""
        path.write_text(self.content(), encoding="utf-8")
