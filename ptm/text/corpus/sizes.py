"""Lines, records and documents that are too large to be read, and the sizes of blocks."""

from __future__ import annotations

from ptm.errors import UserError
from ptm.limits import LARGEST_DOCUMENT, LONGEST_LINE, LONGEST_RECORD
from ptm.text.corpus.files import CorpusFile, Layout
from ptm.text.corpus.records import long_record

_GROWN_BLOCK = 2**23
"""Bytes of text up to which blocks grow."""


def bytes_of_block(number: int, block_bytes: int) -> int:
    """Bytes to read for block `number` of a file.

    Blocks grow, so that a small compressed file of much text has few shards.
    """
    return max(block_bytes, min(block_bytes << min(number // 64, 32), _GROWN_BLOCK))


class SizeLimits:
    """The largest line, record and document of a file."""

    def __init__(self, file: CorpusFile, layout: Layout) -> None:
        self._path = file.path
        self._layout = layout
        self._format = file.format
        self._plain = file.format in ("text", "conll")
        self.longest_line = LONGEST_LINE if self._plain else LONGEST_RECORD
        """Bytes of a line of text, or of a record."""
        self.largest_document = LARGEST_DOCUMENT if self._plain else LONGEST_RECORD

    def check_lines(self, block: bytes, first: int) -> None:
        """Raise UserError if a line of `block` is too long; `first`: the number of its first line.

        Jumps from line end to line end, each time as far as one line may reach.
        """
        at = 0
        while len(block) - at > self.longest_line:
            end = block.rfind(b"\n", at, at + self.longest_line + 1)
            if end < 0:
                raise self.long_line(first + block.count(b"\n", 0, at))
            at = end + 1

    def large_document(self, line: int) -> UserError:
        """The error of a document (or record) that is too large; `line`: where it begins."""
        if not self._plain:
            return self.long_line(line)
        return UserError(
            f"{self._path}: one document is larger than {LARGEST_DOCUMENT // 2**20} MB. "
            f"{self._advice()}"
        )

    def long_line(self, number: int) -> UserError:
        """The error of a line that is too long."""
        place = f"{self._path}:{number}"
        if not self._plain:
            return long_record(place)
        return UserError(
            f"{place}: the line is longer than {LONGEST_LINE // 2**20} MB, and tokenising it would "
            f"take gigabytes of memory. {self._advice()}"
        )

    def _advice(self) -> str:
        if self._layout == "sentences":
            return (
                "With data.layout: sentences an empty line ends a document, but none was found. "
                "If each line is a document, set data.layout: documents."
            )
        if self._format == "conll":
            return "With data.format: conll an empty line ends a sentence, but none was found."
        what = {
            "pairs": "pair",
            "triplets": "triplet",
            "labelled": "labelled text",
            "tagged": "sentence",
            "questions": "question",
            "choices": "question",
        }.get(self._layout, "document")
        return (
            f"With data.layout: {self._layout} each line is a {what}. Check that the file has "
            "line ends."
        )
