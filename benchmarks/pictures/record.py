"""Record the quickstart's commands in a terminal of 80 x 24 (needs the extra `dev`).

python -m benchmarks.pictures.record

runs the commands in the project's folder, in a pseudo-terminal, and writes the screens to
docs/pictures/quickstart.json. A command that took longer than SHOWN_SECONDS is shown faster.
runs/quickstart and the export must not exist before.
"""

from __future__ import annotations

import json
import os
import pty
import struct
import subprocess
import sys
import time
from fcntl import ioctl
from itertools import groupby
from pathlib import Path
from termios import TIOCSWINSZ
from typing import Any

import pyte

PROJECT = Path(__file__).resolve().parents[2]
OUT = PROJECT / "docs" / "pictures" / "quickstart.json"
COLUMNS, LINES = 80, 24
RECIPE = "recipes/quickstart/roberta-tiny.yaml"
RUN = "runs/quickstart"
COMMANDS = (
    f"ptm validate {RECIPE}",
    f"ptm preprocess {RECIPE}",
    f"ptm train {RECIPE}",
    f"ptm export {RUN} {RUN}/export --to hf",
    f'ptm fill {RUN}/export "日本的首都是[MASK]京。"',
)
SHOWN_SECONDS = {"train": 9.0}
"""Longest time for which a command is shown, by its name."""
OTHERS_SECONDS = 2.0
FRAMES_PER_SECOND = 4
TYPING_SECONDS, READING_SECONDS = 0.6, 1.2
"""How long the command line is shown before its output, and the last screen of a command."""
Row = list[list[str]]
"""Runs of equal look: [text, colour, "bold" or ""]."""


class Recording:
    """Screens and when they are shown."""

    def __init__(self) -> None:
        self.screen = pyte.Screen(COLUMNS, LINES)
        self.stream = pyte.ByteStream(self.screen)
        self.seconds = 0.0
        self.frames: list[tuple[float, list[Row]]] = []

    def add(self, rows: list[Row], seconds: float) -> None:
        """Show a screen from now on, for this time."""
        if not self.frames or self.frames[-1][1] != rows:
            self.frames.append((round(self.seconds, 2), rows))
        self.seconds += seconds

    def run(self, command: str) -> None:
        """Type a command, run it and add what it showed."""
        self.stream.feed(b"\x1b[32m$\x1b[0m " + command.encode())
        self.add(rows_of(self.screen), TYPING_SECONDS)
        self.stream.feed(b"\r\n")
        screens = self._watch(command)
        longest = SHOWN_SECONDS.get(command.split()[1], OTHERS_SECONDS)
        shown = min(longest, screens[-1][0])
        count = max(1, round(shown * FRAMES_PER_SECOND))
        for index in range(count):
            moment = screens[-1][0] * (index + 1) / count
            rows = next(rows for at, rows in reversed(screens) if at <= moment + 1e-9)
            self.add(rows, shown / count)
        self.add(screens[-1][1], READING_SECONDS)

    def _watch(self, command: str) -> list[tuple[float, list[Row]]]:
        """Run a command in a pseudo-terminal: (seconds since its start, screen) per output."""
        ours, theirs = pty.openpty()
        ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "TERM": "xterm-256color"}
        began = time.monotonic()
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=PROJECT,
            env={**environment, "PYTHONPATH": str(PROJECT)},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        screens = [(0.0, rows_of(self.screen))]
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:
                break
            if not data:
                break
            self.stream.feed(data)
            screens.append((time.monotonic() - began, rows_of(self.screen)))
        os.close(ours)
        if process.wait():
            raise SystemExit(f"{command} ended with {process.returncode}")
        return screens

    def content(self) -> dict[str, Any]:
        """Each different row once; a frame is a time and the numbers of its rows."""
        numbers: dict[str, int] = {}
        frames = [
            [at, [numbers.setdefault(json.dumps(row), len(numbers)) for row in rows]]
            for at, rows in self.frames
        ]
        rows = [json.loads(row) for row in numbers]
        return {"seconds": round(self.seconds, 2), "rows": rows, "frames": frames}


def rows_of(screen: pyte.Screen) -> list[Row]:
    """The screen as runs of equal look; spaces at the end of a row are left out."""
    rows = []
    for line in range(LINES):
        cells = [screen.buffer[line][column] for column in range(COLUMNS)]
        while cells and cells[-1].data == " ":
            cells.pop()
        looks = groupby(cells, key=lambda cell: (cell.fg, "bold" if cell.bold else ""))
        rows.append([["".join(c.data for c in group), *look] for look, group in looks])
    return rows


def main() -> None:
    if (PROJECT / RUN).exists():
        raise SystemExit(f"{RUN} exists; a recording starts without it: move it away")
    recording = Recording()
    for command in COMMANDS:
        recording.run(command)
    OUT.write_text(json.dumps(recording.content(), ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
