"""Lines on a terminal are broken between words; in a file they are whole."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len

from ptm.console.wrapping import SEPARATOR, terminal_columns, wrapped
from ptm.train.metrics import console_line

REPORT = {
    "step": 100_000,
    "split": "train",
    "loss": 2.5,
    "mlm_accuracy": 0.41,
    "perplexity": 12.18,
    "learning_rate": 1e-4,
    "tokens_per_second": 12_345.0,
    "mfu": 0.402,
    "step_seconds": 0.2,
}


def test_a_long_report_is_broken_between_its_parts() -> None:
    line = console_line(REPORT, steps=100_000, higher=lambda name: name == "mlm_accuracy")
    assert cell_len(line) > 80
    first, *more = wrapped(line, 80).split("\n")
    assert max(map(cell_len, (first, *more))) <= 80
    assert all(one.startswith("  ") for one in more)
    assert SEPARATOR.join([first, *(one.strip() for one in more)]) == line


@pytest.mark.parametrize("columns", [40, 80])
def test_a_sentence_is_broken_at_spaces_and_a_path_stays_whole(columns: int) -> None:
    path = "/data/" + "folder/" * 20
    text = f'data.store: "{path}" does not exist, and 数据 of 中文 follow in a long sentence'
    lines = wrapped(text, columns).split("\n")
    assert any(f'"{path}"' in one for one in lines)
    assert max(cell_len(one) for one in lines if path not in one) <= columns
    assert " ".join(one.strip() for one in lines) == text


def test_the_indent_of_a_line_continues() -> None:
    lines = wrapped("  row 0: " + "word " * 20, 40).split("\n")
    assert lines[0].startswith("  row 0: word")
    assert lines[1].startswith("    word")


def test_a_line_that_fits_and_a_line_of_a_file_stay_as_they_are() -> None:
    text = "a   line  with " + "spaces " * 40
    assert wrapped(text, None) == text
    assert wrapped(text[:40], 40) == text[:40]
    assert terminal_columns(io.StringIO()) is None
