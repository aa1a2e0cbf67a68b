"""The live line: what fits into it, and that nothing is lost behind it."""

from __future__ import annotations

import io
import threading

import pytest
from rich.cells import cell_len

from ptm.console.live_line import LiveLine, line_of
from ptm.console.phases import begin_phase, listening_to, report_done, tracked
from tests.support.terminal import record

PARTS = ["50/200 25 %", "loss 2.5000", "12,346 tokens/s", "MFU 40 %", "ETA 5:00"]
SCRIPT = """
import logging, sys, threading, time, warnings
from ptm.console.live_line import LiveLine

logger = logging.getLogger("ptm")
logger.addHandler(logging.StreamHandler(sys.stderr))
logger.setLevel(logging.INFO)
step = 0
live = LiveLine(sys.stdout, lambda: (step / 8, [f"step {step}", "ETA 0:01"]))
live.start()
for step in range(9):
    time.sleep(0.1)
    if step == 2:
        warnings.warn("a warning of a library")
    if step == 4:
        logger.info("a message " + "x" * 100)
    if step == 6:
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
print("a result without an end", end="")
live.stop()
print(" and its end")
raise ValueError("an error of a library")
"""


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_a_line_fits_its_terminal_and_keeps_what_is_done_and_left(width: int) -> None:
    line = line_of(0.25, PARTS, width=width).plain
    assert cell_len(line) < width
    if width >= 40:
        assert "50/200 25 %" in line
        assert line.endswith("ETA 5:00")
    assert ("MFU 40 %" in line) == (width == 200)


def test_wide_characters_take_two_columns() -> None:
    line = line_of(None, ["书" * 30, "ETA 5:00"], width=40)
    assert cell_len(line.plain) < 40


def test_control_characters_are_shown_escaped() -> None:
    assert line_of(None, ["a\x1b[2Jb\r"], width=40).plain == "a\\u001b[2Jb\\r"


def test_what_others_print_scrolls_above_the_line() -> None:
    found = record([], program=("-c", SCRIPT))
    text = "\n".join(found.final)
    for part in (
        "UserWarning: a warning of a library",
        "ZeroDivisionError: division by zero",
        "a result without an end and its end",
        "ValueError: an error of a library",
    ):
        assert part in text
    # The terminal breaks the long message after 80 columns.
    assert "a message " + "x" * 70 in found.final
    assert "━" not in text
    assert any(screen[-1].startswith("━") and len(screen) > 3 for screen in found.screens)


class _Listener:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def begin(self, phase: str, *, total: int | None, unit: str) -> None:
        self.heard.append((phase, total, unit))

    def done(self, count: int) -> None:
        self.heard.append(count)


def test_phases_reach_the_listener_while_it_listens() -> None:
    listener = _Listener()
    with listening_to(listener):
        assert list(tracked("abc", "reading", total=5, unit="rows", each=2)) == ["a", "b", "c"]
    assert listener.heard == [("reading", 5, "rows"), 2, 4, 5, ("reading: done", None, "")]
    begin_phase("alone")
    report_done(1)
    assert len(listener.heard) == 5


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_process_that_forks_draws_the_line_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal, before = Terminal(), threading.active_count()
    step = "step 1"
    line = LiveLine(terminal, lambda: (None, [step]), has_thread=False)
    line.start()
    try:
        assert threading.active_count() == before
        step = "step 2"
        line.redraw()
    finally:
        line.stop()
    assert "step 2" in terminal.getvalue()
