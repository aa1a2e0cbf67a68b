"""The pictures of docs/pictures: drawn from their data, readable, listed with their commands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.pictures.__main__ import FOLDER, PICTURES
from benchmarks.pictures.panel import NAME_HEIGHT, apart, ticks
from benchmarks.pictures.storm import levels

PROJECT = Path(__file__).parents[2]
LARGEST_BYTES = 300_000
SMALLEST_TEXT = 11.0
"""Pixels at a width of 800."""
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_drawn_from_the_data_beside_it(name: str) -> None:
    drawn = PICTURES[name](FOLDER / f"{name}.json").content()
    assert drawn == (FOLDER / f"{name}.svg").read_text(encoding="utf-8"), (
        f"docs/pictures/{name}.svg is old: run python -m benchmarks.pictures {name}"
    )


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_small_has_a_description_and_no_script(name: str) -> None:
    content = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(content)
    assert len(content.encode()) < LARGEST_BYTES
    assert root.get("width") == "800"
    for part in ("title", "desc"):
        assert (root.findtext(f"{SVG}{part}") or "").strip()
    assert not root.findall(f".//{SVG}script")
    sizes = [float(size) for size in re.findall(r"(?:font-size:|font:)([\d.]+)px", content)]
    assert min(sizes) >= SMALLEST_TEXT


def test_every_picture_has_its_data_and_an_entry_in_the_list() -> None:
    names = {path.stem for path in FOLDER.glob("*.svg")}
    assert names == set(PICTURES) == {path.stem for path in FOLDER.glob("*.json")}
    listed = (PROJECT / "benchmarks" / "pictures" / "README.md").read_text(encoding="utf-8")
    assert {name for name in names if f"docs/pictures/{name}.svg" in listed} == names


def test_the_speeds_are_those_of_the_page_of_measurements() -> None:
    page = (PROJECT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    found = set(re.findall(r"[\d,]*\d(?:\.\d+)?", page))
    rows = json.loads((FOLDER / "speed.json").read_text(encoding="utf-8"))["rows"]
    shown = {row[side] for row in rows for side in ("ptm", "other", "ratio")} - {None}
    assert shown <= found, f"not in benchmarks/README.md: {sorted(shown - found)}"


def test_names_at_the_same_height_are_moved_apart() -> None:
    moved = apart([50.0, 10.0, 50.0])
    assert moved[2] - moved[0] == NAME_HEIGHT
    assert moved[1] < moved[0]
    assert sum(moved) == pytest.approx(110.0)


def test_ticks_are_round_values_inside_the_range() -> None:
    assert ticks(5.9, 6.61) == [6.0, 6.2, 6.4, 6.6]
    assert ticks(0.0, 240.0) == [0.0, 50.0, 100.0, 150.0, 200.0]


def test_numbers_of_faults_at_the_same_step_stand_above_each_other() -> None:
    assert levels([10.0, 80.0, 72.0, 80.0, 300.0]) == [0, 0, 1, 2, 0]
