"""What a stream can show: colours, a live line."""

from __future__ import annotations

import os
from typing import TextIO

_WITHOUT_CONTROL_CODES = ("dumb", "unknown")
"""Values of TERM for terminals that cannot move the cursor."""


def has_colours(stream: TextIO) -> bool:
    """Whether to print colours, and lines that are rewritten.

    That is on a terminal, unless NO_COLOR is set (https://no-color.org) or TERM is `dumb`.
    """
    is_plain = bool(os.environ.get("NO_COLOR")) or _terminal_type() in _WITHOUT_CONTROL_CODES
    return stream.isatty() and not is_plain


def _terminal_type() -> str:
    return os.environ.get("TERM", "").lower()


def are_same_terminal(first: TextIO, second: TextIO) -> bool:
    """Whether both streams write to one terminal."""
    if not (first.isatty() and second.isatty()):
        return False
    if first is second:
        return True
    try:
        return os.path.samestat(os.fstat(first.fileno()), os.fstat(second.fileno()))
    except (OSError, ValueError):
        # A stream without a file descriptor, such as io.StringIO.
        return False
