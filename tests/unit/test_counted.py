"""Counts in messages agree with their nouns and verbs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ptm.counted import counted
from ptm.runs.page.data import Mark
from ptm.runs.page.html import page_html


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 texts were"), (1, "1 text was"), (1234, "1,234 texts were")]
)
def test_one_has_the_singular(count: int, text: str) -> None:
    assert counted(count, "text was", "texts were") == text
    assert counted(count, "text") == text.rsplit(" ", 1)[0]


def test_the_page_counts_one_event() -> None:
    page = page_html(
        title="", lead="", head=[], cards={}, charts=[], marks=[Mark(1, "resume", "x")], sections=[]
    )
    assert "1 event, a vertical line of the charts" in page


def test_notes_of_predictions_count_with_the_helper() -> None:
    """A count followed by a plural is wrong for 1."""
    folder = Path(__file__).parents[2] / "ptm" / "inference" / "predict"
    for path in folder.glob("*.py"):
        assert not re.search(r"\{[^{}]*:,\} [a-z]+s ", path.read_text(encoding="utf-8")), path
