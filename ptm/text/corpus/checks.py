"""Lines and records that are left out: counted, named, and too many of them an error."""

from __future__ import annotations

from dataclasses import dataclass

from ptm.errors import UserError
from ptm.text.corpus.blocks import place_in
from ptm.text.corpus.files import COLUMNAR, CorpusFile

INVALID_SHARE = 0.01
"""With a larger share of damaged lines a file is in another encoding or format."""


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


def _name(encoding: str) -> str:
    return encoding.upper() if encoding.startswith("utf") else encoding


def _advice(encoding: str) -> str:
    other = "gb18030 or cp1252" if encoding == "utf-8" else "utf-8"
    return f" Set data.encoding to the encoding of the file, e.g. {other}, or to detect."
