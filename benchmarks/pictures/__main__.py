"""Draw all pictures of docs/pictures from the data beside them.

python -m benchmarks.pictures [NAME ...]

Nothing is measured; benchmarks/pictures/README.md names the command of each measurement.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.pictures.learning import classification, peers, recurrent
from benchmarks.pictures.speed import speed
from benchmarks.pictures.storm import storm
from benchmarks.pictures.svg import Picture
from benchmarks.pictures.terminal import Recording

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"
PICTURES: dict[str, Callable[[Path], Picture | Recording]] = {
    "learning": peers,
    "learning-recurrent": recurrent,
    "classification": classification,
    "speed": speed,
    "storm": storm,
    "quickstart": Recording,
}


def main(names: Sequence[str]) -> None:
    """Draw the named pictures, or all."""
    for name in names or PICTURES:
        PICTURES[name](FOLDER / f"{name}.json").save(FOLDER / f"{name}.svg")
        print(FOLDER / f"{name}.svg")


if __name__ == "__main__":
    main(sys.argv[1:])
