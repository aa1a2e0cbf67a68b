"""Lines and records that are left out: counted, named, and too many of them an error."""

from __future__ import annotations

from dataclasses import dataclass

from ptm.errors import UserError
from ptm.text.corpus.blocks import place_in
from ptm.text.corpus.files import COLUMNAR, CorpusFile

INVALID_SHARE = 0.01
"""With a larger share of damaged lines a file is in another encoding or format."""
_FEWEST_FIRST_LINES = 20
_FIRST_SHARE = 0.5
"""With a larger share of damaged lines at its beginning a file need not be read to its end."""


@dataclass(frozen=True)
class InvalidLines:
    """The lines (or records) of a file that were left out."""

    lines: int
    """All lines of the file."""
    invalid: int
    """How many of them were left out."""
    first: int
    """Number of the first of them, from 1."""
    problem: str
    """What is wrong with the first; "" if it cannot be decoded."""


def check_invalid(file: CorpusFile, found: InvalidLines) -> str | None:
    """A sentence that names the first line of `file` that was left out; None if none was.

    Raises UserError if more than 1 % of the lines were left out.
    """
    if not found.invalid:
        return None
    place = place_in(file.path, file.format, found.first)
    problem = found.problem or f"the line is not valid {_name(file.encoding)}"
    what = "rows" if file.format in COLUMNAR else "lines"
    if found.invalid > INVALID_SHARE * found.lines:
        advice = "" if found.problem else _advice(file.encoding)
        raise UserError(
            f"{place}: {problem} (invalid {what}: {found.invalid} of {found.lines}).{advice}"
        )
    return (
        f"{file.path}: {found.invalid:,} of {found.lines:,} {what} were left out; the first is "
        f"{place}: {problem}"
    )


def first_invalid_lines(begin: bytes) -> InvalidLines:
    """The lines of the beginning of a file that are not valid; blank lines do not count.

    `begin`: its first bytes as UTF-8. A last line without line end does not count either, because
    it may be cut off.
    """
    lines = [
        (number, line)
        for number, line in enumerate(begin.split(b"\n")[:-1], start=1)
        if line.strip()
    ]
    invalid = [number for number, line in lines if not decodes(line, "utf-8")]
    return InvalidLines(len(lines), len(invalid), min(invalid, default=0), "")


def check_beginning(file: CorpusFile, begin: bytes, *, key: str) -> None:
    """Raise UserError if more than half of the first lines of a file are not valid UTF-8.

    Fewer than 20 lines, and files of another encoding, raise no error here. `begin`: the first
    bytes of the file. `key`: the recipe key (or option) of the encoding.
    """
    if file.encoding != "utf-8":
        return
    found = first_invalid_lines(begin)
    if found.lines < _FEWEST_FIRST_LINES or found.invalid <= _FIRST_SHARE * found.lines:
        return
    raise UserError(
        f"{place_in(file.path, file.format, found.first)}: the line is not valid "
        f"{_name(file.encoding)} (invalid lines: {found.invalid} of the first {found.lines})."
        f"{_advice(file.encoding, key)}"
    )


def decodes(line: bytes, encoding: str) -> bool:
    """Whether `line` is valid in an encoding."""
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _name(encoding: str) -> str:
    return encoding.upper() if encoding.startswith("utf") else encoding


def _advice(encoding: str, key: str = "data.encoding") -> str:
    other = "gb18030 or cp1252" if encoding == "utf-8" else "utf-8"
    return f" Set {key} to the encoding of the file, e.g. {other}, or to detect."
