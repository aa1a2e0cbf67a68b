"""Standard output and standard error: what is printed, and what happens if it cannot be.

A closed pipe, a full disk or an encoding without Chinese must not end a training. So both streams
ignore failed writes, and write what their encoding lacks as `\\u4e2d`. A command whose result is
what it prints notices the failure and ends.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import logging
import os
import select
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from ptm.console.terminal import has_colours
from ptm.console.wrapping import terminal_columns, wrapped
from ptm.escaping import EscapingFormatter, escaped, escaped_block, shown_url

_AS_JSON = "ptm-as-json"


def _as_json(error: UnicodeError) -> tuple[str, int]:
    """What the encoding lacks as in JSON, of which `--json` may be a part: `\\ud83d\\ude00`."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return json.dumps(lacking)[1:-1], error.end


codecs.register_error(_AS_JSON, _as_json)


class OutputError(Exception):
    """The result of a command could not be written to standard output."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror}.")
        self.by_reader = error.errno == errno.EPIPE
        """Whether the program that reads the output has ended, as `head` does."""


class _Forgiving(io.FileIO):
    """A file descriptor that accepts everything once a write has failed."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write some of `data`; return the number of bytes."""
        if self.error is None:
            try:
                # None: the reader of a non-blocking pipe is behind.
                while (written := super().write(data)) is None:
                    select.select([], [self], [])
                return written
            except OSError as error:
                self.error = error
        return len(data)


@contextmanager
def console() -> Iterator[None]:
    """Replace `sys.stdout` and `sys.stderr` by streams that never raise.

    Streams that somebody has replaced already are left alone.
    """
    _open_closed_descriptors()
    found = sys.stdout, sys.stderr
    if found[0] is sys.__stdout__:
        sys.stdout = _forgiving(found[0], 1)
    if found[1] is sys.__stderr__:
        sys.stderr = _forgiving(found[1], 2)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = found


def _open_closed_descriptors() -> None:
    """Open /dev/null in place of a closed stdin, stdout or stderr (`ptm train >&-`).

    The next file that is opened would get its number, and with it everything that is printed.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, so this one. Reading from stdout's raises EBADF, as before.
            os.open(os.devnull, os.O_RDONLY)


def _forgiving(stream: TextIO | None, number: int) -> TextIO:
    raw = _Forgiving(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors=_AS_JSON,
        line_buffering=stream is None or stream.isatty() or number == 2,
    )


def _failure(stream: TextIO) -> OSError | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw.error if isinstance(raw, _Forgiving) else None


def print_result(line: str) -> None:
    """Print one line of the result of a command. Raises OutputError if it cannot be written."""
    _print_checked(escaped(line) + "\n")


def print_sentence(line: str, *, prefix: str = "") -> None:
    """Print one line of a result that is prose: wrapped on a terminal. Raises OutputError.

    `prefix`: what each line on the terminal begins with, such as `# `.
    """
    indent = prefix or "  "
    _print_checked(_fitted(prefix + escaped(line), sys.stdout, indent=indent) + "\n")


def _fitted(text: str, stream: TextIO, *, indent: str = "  ") -> str:
    return wrapped(text, terminal_columns(stream), indent=indent)


def print_result_block(text: str, *, end: str = "\n") -> None:
    """Print a result that may have several lines, such as YAML. Raises OutputError."""
    _print_checked(escaped_block(text) + end)


def print_rendered(text: str) -> None:
    """Print text whose parts are escaped already, such as a coloured table. Raises OutputError."""
    _print_checked(text + "\n")


def _print_checked(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
    error = _failure(sys.stdout)
    if error is not None:
        raise OutputError(error)


_settings = {"quiet": False}


def set_quiet(quiet: bool) -> None:
    """Print only results, warnings and errors from now on, or everything again."""
    _settings["quiet"] = quiet


def is_quiet() -> bool:
    """Whether only results, warnings and errors are printed."""
    return _settings["quiet"]


def print_done(line: str) -> None:
    """Print one line about work that is done, whether or not it can be printed."""
    if is_quiet():
        return
    text = _fitted(escaped(shown_url(line)), sys.stdout)
    subject, colon, rest = text.partition(":")
    if rest[:1] in (" ", "\n") and colon and has_colours(sys.stdout):
        text = f"{_GREEN}{subject}:{_RESET}{rest}"
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_note(*lines: str) -> None:
    """Print lines on standard error."""
    _print_on_stderr(_fitted_on_stderr(lines))


def print_error(*lines: str) -> None:
    """Print the lines of an error on standard error, in red up to the first colon on a terminal."""
    texts = _fitted_on_stderr(lines)
    if texts and has_colours(sys.stderr):
        subject, colon, rest = texts[0].partition(":")
        texts[0] = f"{_RED}{subject}{colon}{_RESET}{rest}"
    _print_on_stderr(texts)


def _fitted_on_stderr(lines: Sequence[str]) -> list[str]:
    return [_fitted(escaped(shown_url(line)), sys.stderr) for line in lines]


def _print_on_stderr(lines: Sequence[str]) -> None:
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.stderr.flush()


_RED, _YELLOW, _GREEN = "\x1b[1;31m", "\x1b[33m", "\x1b[32m"
_COLOURS = {logging.WARNING: _YELLOW, logging.ERROR: _RED}
_RESET = "\x1b[0m"


class ConsoleFormatter(EscapingFormatter):
    """Prefixes warnings and errors with their level; on a terminal, in yellow and red.

    A message whose record has the attribute `is_done` is green.
    """

    def __init__(self, *, colours: bool = False, stream: TextIO | None = None) -> None:
        """`stream`: where the messages are printed. On a terminal, they are wrapped."""
        super().__init__()
        self._colours = colours
        self._stream = stream

    def format(self, record: logging.LogRecord) -> str:
        is_warning = record.levelno >= logging.WARNING
        level = f"{record.levelname.lower()}:"
        text = super().format(record)
        text = f"{level} {text}" if is_warning else text
        if self._stream is not None and not record.exc_info:
            text = wrapped(text, terminal_columns(self._stream))
        if is_warning and self._colours:
            colour = _COLOURS[min(record.levelno, logging.ERROR)]
            return f"{colour}{level}{_RESET}{text.removeprefix(level)}"
        is_green = self._colours and getattr(record, "is_done", False)
        return f"{_GREEN}{text}{_RESET}" if is_green else text
