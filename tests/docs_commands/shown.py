"""Comparison of what a command printed with what a page shows below it."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?")
_NUMBER_PATTERN = r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?"


def missing_line(shown: Sequence[str], printed: str, *, varies: Sequence[str] = ()) -> str | None:
    """The first of the lines `shown` that `printed` lacks, in their order, or None.

    Numbers are compared by shape. `...` and `…` stand for any text, and as lines for any lines. The
    parts of a line that match a pattern of `varies` stand for any text too.
    """
    rest = [" ".join(line.split()) for line in printed.splitlines()]
    for line in shown:
        if line.strip() in ("", "...", "…"):
            continue
        pattern = line_pattern(line, varies=varies)
        at = next((i for i, one in enumerate(rest) if pattern.fullmatch(one)), None)
        if at is None:
            return line
        rest = rest[at + 1 :]
    return None


def line_pattern(line: str, *, varies: Sequence[str] = ()) -> re.Pattern[str]:
    """The regular expression of the lines that count as `line`."""
    either = "|".join(f"(?:{one})" for one in (*varies, r"\.\.\.|…"))
    parts, end = list[str](), 0
    text = " ".join(line.split())
    for found in re.finditer(either, text):
        parts += [_literal(text[end : found.start()]), ".*"]
        end = found.end()
    return re.compile("".join((*parts, _literal(text[end:]))))


def _literal(text: str) -> str:
    pieces = _NUMBER.split(text)
    return _NUMBER_PATTERN.join(re.escape(piece) for piece in pieces)
