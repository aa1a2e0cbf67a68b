"""The animated picture of the recording of benchmarks/pictures/record.py.

All frames stand below each other in one strip, and CSS moves the strip; there is no script. Where
animations are off, the last frame is shown. A terminal is dark on every page.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from unicodedata import east_asian_width

COLUMNS, LINES = 80, 24
CELL, LINE_HEIGHT, FONT_SIZE = 9.4, 21, 15.5
"""Width of a column, height of a line and size of the text in pixels."""
LEFT, TOP = 24, 44
HOLD_SECONDS = 4.0
"""How long the last frame stays before the recording starts again."""
FONT = "ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono','Noto Sans Mono CJK SC',monospace"
COLOURS = {
    "default": "#e6edf3",
    "black": "#6e7681",
    "red": "#ff7b72",
    "green": "#3fb950",
    "brown": "#d29922",
    "blue": "#58a6ff",
    "magenta": "#bc8cff",
    "cyan": "#39c5cf",
    "white": "#f0f6fc",
}
"""Colour of a terminal, by pyte's name -> colour of the picture."""


class Recording:
    """A recording as an SVG file."""

    def __init__(self, data: Path) -> None:
        found = json.loads(data.read_text(encoding="utf-8"))
        self.rows: list[list[list[str]]] = found["rows"]
        self.frames: list[tuple[float, list[int]]] = found["frames"]
        self.seconds: float = found["seconds"] + HOLD_SECONDS

    def content(self) -> str:
        """The text of the SVG file."""
        width, height = 800, TOP + LINES * LINE_HEIGHT + 16
        screen = LINES * LINE_HEIGHT
        last = -(len(self.frames) - 1) * screen
        title = "Quickstart of ptm in a terminal"
        description = (
            "A recording of ptm validate, preprocess, train, export and fill, shown faster than it "
            "was. The last screen: " + " / ".join(filter(None, map(plain, self._last_rows())))
        )
        rows = "\n".join(
            f'<g id="r{number}">{spans(row)}</g>' for number, row in enumerate(self.rows) if row
        )
        frames = "\n".join(self._frame(at) for at in range(len(self.frames)))
        dots = "".join(
            f'<circle cx="{x}" cy="22" r="6" fill="{colour}"/>'
            for x, colour in ((28, "#ff5f57"), (48, "#febc2e"), (68, "#28c840"))
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" aria-labelledby="title desc">\n'
            f'<title id="title">{title}</title>\n'
            f'<desc id="desc">{escape(description, quote=False)}</desc>\n'
            f"<style>text{{font:{FONT_SIZE}px {FONT};fill:{COLOURS['default']};white-space:pre}}"
            f".strip{{transform:translateY({last}px);animation:play {self.seconds:g}s step-end "
            f"infinite}}@media(prefers-reduced-motion:reduce){{.strip{{animation:none}}}}"
            f"@keyframes play{{{self._keyframes(screen)}}}</style>\n"
            f"<defs>\n{rows}\n</defs>\n"
            f'<rect x="1" y="1" width="{width - 2}" height="{height - 2}" rx="10" '
            f'fill="#0d1117" stroke="#6e7681"/>{dots}\n'
            f'<text x="{width / 2:g}" y="27" text-anchor="middle">ptm, quickstart (faster)</text>\n'
            f'<svg x="{LEFT}" y="{TOP}" width="{COLUMNS * CELL:g}" height="{screen}">\n'
            f'<g class="strip">\n{frames}\n</g>\n</svg>\n</svg>\n'
        )

    def save(self, path: Path) -> None:
        """Write the file."""
        path.write_text(self.content(), encoding="utf-8")

    def _last_rows(self) -> list[list[list[str]]]:
        return [self.rows[number] for number in self.frames[-1][1]]

    def _frame(self, at: int) -> str:
        top = at * LINES * LINE_HEIGHT + LINE_HEIGHT - 5
        return "".join(
            f'<use href="#r{number}" y="{top + line * LINE_HEIGHT}"/>'
            for line, number in enumerate(self.frames[at][1])
            if self.rows[number]
        )

    def _keyframes(self, screen: int) -> str:
        return "".join(
            f"{100 * at / self.seconds:.2f}%{{transform:translateY({-index * screen}px)}}"
            for index, (at, _) in enumerate(self.frames)
        )


def columns(text: str) -> int:
    """Columns that a text takes in a terminal."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def plain(row: list[list[str]]) -> str:
    """A row without its look."""
    return "".join(text for text, _, _ in row).strip()


def spans(row: list[list[str]]) -> str:
    """The texts of a row. Each has the width of its columns, whatever the font."""
    parts, column = [], 0
    for text, colour, weight in row:
        wide = columns(text)
        if text.strip():
            shade = COLOURS.get(colour.removeprefix("bright"), f"#{colour}")
            look = f' style="fill:{shade}"' if shade != COLOURS["default"] else ""
            bold = ' font-weight="bold"' if weight else ""
            parts.append(
                f'<text x="{column * CELL:g}" textLength="{wide * CELL:g}" '
                f'lengthAdjust="spacingAndGlyphs" xml:space="preserve"{look}{bold}>'
                f"{escape(text, quote=False)}</text>"
            )
        column += wide
    return "".join(parts)
