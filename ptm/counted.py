"""Counts in messages: `1 text`, `1,234 texts`."""

from __future__ import annotations


def counted(count: int, one: str, many: str | None = None) -> str:
    """`count` with the words that follow it: `one` for 1, otherwise `many` (default: `one` + s).

    The words may have a verb: `counted(2, "text was", "texts were")` is `2 texts were`.
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def singular(noun: str) -> str:
    """The singular of a regular noun, whose further words stay: `paragraphs with questions`."""
    first, *rest = noun.split(" with ")
    return " with ".join([first.removesuffix("s"), *rest])
