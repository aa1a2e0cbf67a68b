"""Ranges of plain files: where a file is cut into blocks, and the block of one range.

The places of the cuts are found from a few kilobytes before each of them, so that one process can
name the ranges of a large file while others read them. Only local files of text, CoNLL and JSON
lines that are not compressed have ranges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ptm.text.corpus.blocks import Block, FirstLine, record_format
from ptm.text.corpus.encodings import TextStream, text_of
from ptm.text.corpus.files import CorpusFile, Layout
from ptm.text.corpus.lines import (
    DocumentEnds,
    blank_lines_end_documents,
    first_text_line,
)
from ptm.text.corpus.sizes import SizeLimits, bytes_of_block
from ptm.text.corpus.streams import CorpusStream, open_stored, read_at

_BEGIN = 2**18
_WINDOW = 2**13
"""Bytes before the end of a block that are searched first for the end of a document."""
_CHUNK = 2**20


@dataclass(frozen=True)
class PlainFile:
    """A file that is read in ranges, with what was found at its beginning."""

    file: CorpusFile
    index: int
    """Index of the file in the corpus."""
    layout: Layout
    begin: int
    """Offset of the text, after a byte-order mark."""
    ends: DocumentEnds
    opening: FirstLine | None = None
    """The first line of text; for layouts whose lines have columns only."""
    opened: int = 0
    """An offset after this line."""

    def lines_before(self, offset: int) -> int:
        """The number of lines before an offset. Reads the file up to it."""
        with open_stored(self.file, seek=True, whole=True) as raw:
            text = TextStream(CorpusStream(self.file, _Beginning(raw, offset)), self.file)
            lines = 0
            while chunk := text.read(_CHUNK):
                lines += chunk.count(b"\n")
            return lines


@dataclass(frozen=True)
class BlockRange:
    """The place of one block in a file."""

    plain: PlainFile
    number: int
    """Index of the block in the file, from 0."""
    offset: int
    length: int
    """Bytes."""

    def read(self, *, first_line: int | None = None) -> Block:
        """The block. `first_line`: the number of its first line, from 1.

        Without this number, errors of the block name a line by a number that is too small: read it
        again with `numbered`. Raises UserError if a line is too long, or if the file cannot be
        read or has changed since it was found.
        """
        plain = self.plain
        file = plain.file
        if first_line is None:
            first_line = self._least_first_line()
        with open_stored(file, seek=True, whole=True) as raw:
            data = read_at(file, raw, self.offset, self.length)
        text = text_of(data, plain.ends.lines)
        SizeLimits(file, plain.layout).check_lines(text, first_line)
        return Block(
            plain.index,
            self.number,
            text,
            self.offset + self.length,
            file.path,
            first_line,
            plain.opening,
            record_format(file),
        )

    def numbered(self) -> Block:
        """The block, with the number of its first line; reads the file up to it."""
        return self.read(first_line=1 + self.plain.lines_before(self.offset))

    def _least_first_line(self) -> int:
        """A number that is at most that of the first line.

        The opening is recognised by its number: a later line must have a greater one.
        """
        if self.number == 0 or self.plain.opening is None:
            return 1
        if self.offset < self.plain.opened:
            return 1 + self.plain.lines_before(self.offset)
        return 1 + self.plain.opening.number


def plain_file(file: CorpusFile, *, index: int, layout: Layout) -> PlainFile | None:
    """What the beginning of a local file says about its ranges; None if the file is compressed.

    Raises UserError if the file cannot be read or is not of its format.
    """
    with open_stored(file, seek=True, whole=False) as raw:
        stream = CorpusStream(file, raw)
        if stream.is_compressed:
            return None
        text = TextStream(stream, file)
        first = text.read(_BEGIN)
        opening = None
        if file.format == "text" and layout in ("labelled", "pairs", "triplets"):
            opening = _opening(text, first, longest=SizeLimits(file, layout).longest_line)
        by_blank_lines = blank_lines_end_documents(file.format, layout)
        ends = DocumentEnds(by_blank_lines, text.line_ends)
        return PlainFile(file, index, layout, text.begin, ends, opening, stream.bytes_read)


def block_ranges(plain: PlainFile, block_bytes: int) -> Iterator[BlockRange]:
    """Yield the ranges of a file in order.

    A range ends with the last document that ends in its `block_bytes` bytes, or else with the first
    one. Raises UserError if a line or document is too large, or if the file has changed since it
    was found.
    """
    limits = SizeLimits(plain.file, plain.layout)
    with open_stored(plain.file, seek=True, whole=True) as raw:
        search = _BackwardSearch(raw, plain)
        number, begin, size = 0, plain.begin, plain.file.bytes
        # Where the next block ends at most, and a begin of a line before which no document ends.
        reached = searched = begin
        while reached < size:
            reached = min(size, reached + bytes_of_block(number, block_bytes))
            cut = search.after_last_document(searched, reached) or begin
            if reached - cut > limits.largest_document:
                raise limits.large_document(1 + plain.lines_before(cut))
            if reached - cut > limits.longest_line:
                line = search.after_last_line(searched, reached) or searched
                if reached - line > limits.longest_line:
                    raise limits.long_line(1 + plain.lines_before(line))
            if cut > begin:
                yield BlockRange(plain, number, begin, cut - begin)
                number, begin, searched = number + 1, cut, cut
            else:
                searched = search.after_last_line(searched, reached) or searched
        if begin < size:
            # A document without line end.
            yield BlockRange(plain, number, begin, size - begin)


class _BackwardSearch:
    """Finds the ends of documents and lines in an open file."""

    def __init__(self, raw: BinaryIO, plain: PlainFile) -> None:
        self._raw = raw
        self._file = plain.file
        self._documents = plain.ends
        self._lines = DocumentEnds(by_blank_lines=False, lines=plain.ends.lines)

    def after_last_document(self, low: int, high: int) -> int:
        """The offset after the last document that ends between two offsets, or 0.

        `low` is the begin of a line.
        """
        return self._after_last(self._documents, low, high)

    def after_last_line(self, low: int, high: int) -> int:
        """The offset after the last line end between two offsets, or 0."""
        return self._after_last(self._lines, low, high)

    def _after_last(self, ends: DocumentEnds, low: int, high: int) -> int:
        # Whole characters, and one more at the end: see `LineEnds.after_last`.
        width = ends.lines.width
        size = _WINDOW
        while True:
            start = max(low, high - size)
            start -= (start - low) % width
            data = read_at(self._file, self._raw, start, high - start + width)
            found, searched = ends.search(data, 0, high - start, in_line=start > low)
            if found:
                return start + found
            if start == low:
                return 0
            high = start + searched
            size *= 4


class _Beginning:
    """The first bytes of an open file."""

    def __init__(self, raw: BinaryIO, size: int) -> None:
        self._raw = raw
        self._left = size

    def read(self, size: int) -> bytes:
        data = self._raw.read(min(size, self._left))
        self._left -= len(data)
        return data


def _opening(text: TextStream, first: bytes, *, longest: int) -> FirstLine | None:
    """The first line of text that is not blank; `first`: the text before what `text` reads."""
    data, number = first, 1
    while True:
        chunk = text.read(_BEGIN)
        data += chunk
        end = data.rfind(b"\n") + 1 if chunk else len(data)
        found = first_text_line(data[:end], number)
        # The reader of the block raises the error of a line that is too long.
        if found is not None or not chunk or len(data) - end > longest:
            return found
        data, number = data[end:], number + data.count(b"\n", 0, end)
