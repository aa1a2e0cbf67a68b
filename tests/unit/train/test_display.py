"""The live line of a training: on terminals alone, below the log, within the width."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from ptm.cli.console import ConsoleFormatter
from ptm.console.live_line import line_of
from ptm.console.terminal import has_colours
from ptm.train.display import TrainingDisplay

REPORT = {
    "step": 50,
    "split": "train",
    "loss": 2.5,
    "mlm_accuracy": 0.25,
    "tokens_per_second": 12345.6,
    "step_seconds": 2.0,
    "mfu": 0.4,
    "memory_bytes": 3_000_000_000,
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """A terminal of 80 columns as standard output, to which the log is printed."""
    stream = Terminal()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    logger = logging.getLogger("ptm")
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "level", logging.INFO)
    found = sys.stdout
    yield stream
    sys.stdout = found
    assert handler.stream is stream


def display(stdout: io.StringIO, *, is_active: bool = True) -> TrainingDisplay:
    # Here and not in the fixture: pytest replaces standard output between the two.
    sys.stdout = stdout
    return TrainingDisplay(
        steps=200, is_active=is_active, higher=lambda name: name == "mlm_accuracy"
    )


def line_on(shown: TrainingDisplay, *, width: int) -> str:
    return line_of(*shown.share_and_parts(), width=width).plain


def test_progress_values_and_time_left_are_on_the_line(terminal: Terminal) -> None:
    with display(terminal) as shown:
        shown.note("training", 50)
        shown.report(REPORT)
        shown.report({"split": "eval", "step": 50, "loss": 9.0})
        line = line_on(shown, width=80)
    # What does not fit into 80 columns is left out: here MFU and memory.
    assert line.endswith(" 50/200 25 % · loss 2.5000 · 12,346 tokens/s · ETA 5:00")
    assert line.startswith("━" * 20 + " ")
    assert len(line) < 80


def test_a_wide_terminal_shows_everything(terminal: Terminal) -> None:
    with display(terminal) as shown:
        shown.note("evaluating", 50)
        shown.report(REPORT)
        line = line_on(shown, width=130)
    for part in ("evaluating", "mlm_accuracy 0.250", "MFU 40 %", "3.0 GB", "ETA 5:00"):
        assert part in line


def test_log_messages_scroll_above_the_line(terminal: Terminal) -> None:
    with display(terminal):
        logging.getLogger("ptm.test").info("a message")
    text = terminal.getvalue()
    assert "a message\n" in text
    assert text.index("a message") < text.rindex("ETA")


@pytest.mark.parametrize("case", ["no terminal", "NO_COLOR", "quiet", "another rank"])
def test_elsewhere_there_is_no_line(
    case: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    if case == "quiet":
        logging.getLogger("ptm").handlers[0].setLevel(logging.WARNING)
    stdout = io.StringIO() if case == "no terminal" else terminal
    with display(stdout, is_active=case != "another rank") as shown:
        assert not shown.is_live
        logging.getLogger("ptm.test").warning("a message")
    assert terminal.getvalue() == "a message\n"


def test_before_the_first_report_the_clock_gives_the_time_left(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([100.0, 130.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    shown = display(terminal)
    assert line_on(shown, width=80).endswith("ETA -:--")
    shown.note("training", 10)
    assert line_on(shown, width=80).endswith("ETA -:--")
    shown.note("training", 20)
    # 10 steps in 30 seconds; 180 steps are left.
    assert line_on(shown, width=80).endswith("ETA 9:00")


def test_warnings_have_a_colour_on_a_terminal_alone(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = logging.LogRecord("ptm", logging.WARNING, "", 0, "text", None, None)
    assert has_colours(terminal)
    assert ConsoleFormatter(colours=True).format(record) == "\x1b[33mwarning:\x1b[0m text"
    assert ConsoleFormatter().format(record) == "warning: text"
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_colours(terminal)
    assert not has_colours(io.StringIO())
