"""Lines that fit a terminal: broken between words, or between the parts of a report."""

from __future__ import annotations

import os
import re
from typing import TextIO

SEPARATOR = " · "
"""Between the parts of a line about progress."""
_INDENT = "  "
_LEAST_COLUMNS = 20
"""On narrower terminals, lines are not wrapped."""


def terminal_columns(stream: TextIO) -> int | None:
    """The width of the terminal that `stream` writes to; None for a file, or if it is unknown.

    COLUMNS takes precedence, as in other programs.
    """
    if not stream.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    if given.isdigit():
        return int(given) or None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        # A stream without a file descriptor, such as io.StringIO.
        return None


def wrapped(text: str, columns: int | None, *, indent: str = _INDENT) -> str:
    """`text` in lines of at most `columns`, the further ones after `indent`.

    A line with separators is broken between its parts, other lines at spaces. A longer word, such
    as a path, stays whole. The further lines are indented by that of their first line as well.
    `columns` None: `text` as it is.
    """
    if columns is None or columns < _LEAST_COLUMNS:
        return text
    return "\n".join(_wrapped_line(line, columns, indent) for line in text.split("\n"))


def _wrapped_line(line: str, columns: int, indent: str) -> str:
    # No character is wider than two columns. Most lines are short and need no rich.
    if 2 * len(line) <= columns:
        return line
    from rich.cells import cell_len

    if cell_len(line) <= columns:
        return line
    body = line.lstrip(" ")
    margin = line[: len(line) - len(body)]
    between = SEPARATOR if SEPARATOR in body else " "
    lines, current = [], margin
    # Each piece has the separator before it, so that a line's own spaces stay.
    for piece in re.split(f"(?<=[^ ])(?={between})", body):
        if current.strip() and cell_len(current + piece) > columns:
            lines.append(current)
            current = margin + indent + piece.removeprefix(between).lstrip(" ")
        else:
            current += piece
    return "\n".join([*lines, current])
