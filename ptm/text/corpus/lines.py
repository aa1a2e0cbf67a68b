"""Lines of text: decoded, parsed as documents or sentences, blank ones recognised."""

from __future__ import annotations

from dataclasses import dataclass

from ptm.text.corpus.blocks import ParsedBlock
from ptm.text.corpus.files import Layout

HAS_NUL = "the line contains a NUL byte"


@dataclass(frozen=True)
class DecodedLines:
    """The lines of a block as text, and how many were left out."""

    texts: list[str | None]
    """One entry per line; None if the line is not UTF-8 or contains a NUL byte."""
    invalid: int
    first_invalid: int | None
    """Index, from 0, of the first line that is None."""
    problem: str = ""
    """What is wrong with that line; "" if it is not UTF-8."""


def is_blank(line: bytes) -> bool:
    """Whether a line of UTF-8 has nothing but white space, as `str.isspace` defines it."""
    rest = line.strip()
    if not rest:
        return True
    # White space outside ASCII begins with a byte of 0xc2, 0xe1, 0xe2 or 0xe3; 0x1c to 0x1f are
    # white space for str, but not for bytes.
    if 0x1F < rest[0] < 0x80:
        return False
    try:
        return not rest.decode("utf-8").strip()
    except UnicodeDecodeError:
        return False


def after_last_blank_line(data: bytes | bytearray, start: int) -> int:
    """The offset after the last blank line of `data` that begins at or after `start`, or 0."""
    end = data.rfind(b"\n", start)
    while end >= 0:
        begin = max(start, data.rfind(b"\n", start, end) + 1)
        if is_blank(bytes(data[begin:end])):
            return end + 1
        end = begin - 1 if begin > start else -1
    return 0


def decode_lines(data: bytes) -> DecodedLines:
    """Decode the lines of a block. The last line may lack its newline."""
    if b"\0" in data:
        return _decode_each_line(data)
    try:
        # At once, which is faster than line by line; nearly all blocks are valid.
        texts: list[str | None] = [*data.decode("utf-8").split("\n")]
    except UnicodeDecodeError:
        return _decode_each_line(data)
    if not texts[-1]:
        texts.pop()
    return DecodedLines(texts, 0, None)


def _decode_each_line(data: bytes) -> DecodedLines:
    raw_lines = data.split(b"\n")
    if raw_lines and not raw_lines[-1]:
        raw_lines.pop()
    texts: list[str | None] = []
    problems: dict[int, str] = {}
    for index, raw in enumerate(raw_lines):
        text: str | None = None
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            problems[index] = ""
        else:
            if "\0" in text:
                text, problems[index] = None, HAS_NUL
        texts.append(text)
    first = min(problems, default=None)
    return DecodedLines(texts, len(problems), first, problems[first] if first is not None else "")


def parse_lines(data: bytes, layout: Layout) -> ParsedBlock:
    """Parse a block of plain text with layout `documents` or `sentences`.

    Lines that are not UTF-8, or that contain a NUL byte, are left out and counted.
    """
    lines = decode_lines(data)
    documents: list[list[str]] = []
    current: list[str] = []
    blank = 0
    for text in lines.texts:
        if text is None:
            continue
        line = text.strip()
        if not line:
            blank += 1
            if current:
                documents.append(current)
                current = []
        elif layout == "documents":
            documents.append([line])
        else:
            current.append(line)
    if current:
        documents.append(current)
    return ParsedBlock(
        documents,
        len(lines.texts),
        blank,
        lines.invalid,
        lines.first_invalid,
        problem=lines.problem,
    )
