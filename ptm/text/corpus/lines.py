"""Lines of text: their ends found, decoded, parsed as documents or sentences."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

from ptm.text.corpus.blocks import FirstLine, ParsedBlock
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


@cache
def _mark(character: str, encoding: str) -> bytes:
    return character.encode(encoding)


@dataclass(frozen=True)
class LineEnds:
    """How the lines of stored bytes end; by default as those of text that was decoded.

    Offsets are those of whole characters: multiples of 2 in UTF-16.
    """

    encoding: str = "utf-8"
    """Name of a codec; of UTF-16 the one with a byte order."""
    cr: bool = False
    """Whether CR and CR LF end a line too; otherwise a CR is white space."""

    @property
    def width(self) -> int:
        """Bytes of a line end."""
        return 2 if self.encoding.startswith("utf-16") else 1

    def after_last(self, data: bytes | bytearray, start: int, end: int) -> int:
        """The offset after the last line end in `data[start:end]`, or 0.

        If CR ends lines, `data` has a character after `end`, unless the file ends there: between CR
        and LF is no line end.
        """
        after = self._after_last("\n", data, start, end)
        if not self.cr:
            return after
        newline = _mark("\n", self.encoding)
        found = self._after_last("\r", data, start, end)
        while found and data.startswith(newline, found):
            found = self._after_last("\r", data, start, found - self.width)
        return max(after, found)

    def is_blank(self, line: bytes) -> bool:
        """Whether a line, with or without its end, has nothing but white space."""
        if self.encoding == "utf-8":
            return is_blank(line)
        try:
            return not line.decode(self.encoding).strip()
        except UnicodeDecodeError:
            return False

    def _after_last(self, character: str, data: bytes | bytearray, start: int, end: int) -> int:
        mark = _mark(character, self.encoding)
        at = data.rfind(mark, start, end)
        while at > 0 and at % self.width:
            # The second half of a character of UTF-16 and the first half of the next one.
            at = data.rfind(mark, start, at + len(mark) - 1)
        return at + len(mark) if at >= 0 else 0


def blank_lines_end_documents(format: str, layout: Layout) -> bool:
    """Whether a blank line ends a document of such a file; otherwise each line does."""
    return format == "conll" or (format == "text" and layout == "sentences")


@dataclass(frozen=True)
class DocumentEnds:
    """Where the documents of a file without quotes end: the places where it may be cut."""

    by_blank_lines: bool
    """Whether a blank line ends a document; otherwise each line does."""
    lines: LineEnds = field(default_factory=LineEnds)

    def after_last(self, data: bytes | bytearray, start: int, end: int) -> int:
        """The offset after the last document that ends in `data[start:end]`, or 0.

        `start` is the begin of a line. `data` as for `LineEnds.after_last`.
        """
        return self.search(data, start, end)[0]

    def search(
        self, data: bytes | bytearray, start: int, end: int, *, in_line: bool = False
    ) -> tuple[int, int]:
        """As `after_last`; also the offset from which on no document ends, if none was found.

        `in_line`: whether `start` may be inside a line.
        """
        after = self.lines.after_last(data, start, end)
        if not self.by_blank_lines:
            return after, start
        while after:
            begin = self.lines.after_last(data, start, after - self.lines.width)
            if not begin and in_line:
                return 0, after
            begin = max(begin, start)
            if self.lines.is_blank(bytes(data[begin:after])):
                return after, after
            after = begin if begin > start else 0
        return 0, start


def first_text_line(data: bytes, number: int) -> FirstLine | None:
    """The first line of `data` that is UTF-8 and not blank; `number` is that of its first line."""
    at = 0
    while at < len(data):
        end = data.find(b"\n", at)
        raw = data[at : end if end >= 0 else len(data)]
        with suppress(UnicodeDecodeError):
            text = raw.decode("utf-8")
            if text.strip() and "\0" not in text:
                return FirstLine(number, text)
        at, number = at + len(raw) + 1, number + 1
    return None


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
