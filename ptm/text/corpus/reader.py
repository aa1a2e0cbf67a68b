"""Reads a corpus file as blocks of whole documents.

Blocks are cut at document boundaries only. They can therefore be tokenised by any process, in any
order. The blocks of a file depend only on its bytes, how it is read, the layout and the block size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from ptm.errors import UserError
from ptm.limits import LARGEST_DOCUMENT, LONGEST_LINE, LONGEST_RECORD
from ptm.text.corpus.blocks import Block, FirstLine, RecordFormat
from ptm.text.corpus.columnar import columnar_blocks
from ptm.text.corpus.delimited import DELIMITERS, after_last_record, split_header
from ptm.text.corpus.encodings import TextStream
from ptm.text.corpus.files import COLUMNAR, CorpusFile, Layout
from ptm.text.corpus.lines import after_last_blank_line
from ptm.text.corpus.other_formats import check_is_text
from ptm.text.corpus.records import long_record
from ptm.text.corpus.streams import CorpusStream, open_stream

_GROWN_BLOCK = 2**23
"""Bytes of text up to which blocks grow."""


class CorpusReader:
    """Reads one file as blocks of whole documents.

    `index` is the file's index in the corpus. A block has `block_bytes` bytes of text, plus or
    minus a document.
    """

    def __init__(self, file: CorpusFile, *, index: int, layout: Layout, block_bytes: int) -> None:
        self._file = file
        self._index = index
        self._layout = layout
        self._block_bytes = block_bytes
        self._plain = file.format == "text"
        self._longest_line = LONGEST_LINE if self._plain else LONGEST_RECORD

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks in order.

        Raises UserError if the file is damaged, is not of its format or has changed since it was
        found, RemoteReadError if a server fails.
        """
        if self._file.format in COLUMNAR:
            yield from columnar_blocks(self._file, index=self._index, bytes_of=self._bytes_of)
            return
        with open_stream(self._file, whole=True) as stream:
            yield from self._text_blocks(stream)

    def _text_blocks(self, stream: CorpusStream) -> Iterator[Block]:
        text = TextStream(stream, self._file)
        data, number, line = bytearray(), 0, 1
        # Where the last line of `data` begins.
        begins = 0
        opening: FirstLine | None = None
        records = self._record_format()
        while True:
            chunk = text.read(self._bytes_of(number))
            if number == 0 and not data:
                check_is_text(self._file, chunk, self._layout)
            # Boundaries are searched from the last line on, which the chunk continues.
            searched = begins
            new = len(data)
            data += chunk
            begins = max(begins, data.rfind(b"\n", new) + 1)
            if records is not None and not records.columns and self._file.format != "json_lines":
                header = split_header(self._file, data, ended=not chunk)
                if header is None:
                    continue
                records = replace(records, columns=header.columns)
            # An empty chunk is the end of the file: the rest is a document without line end.
            cut = len(data) if not chunk else self._last_boundary(data, searched)
            self._check_sizes(data, cut, begins, line)
            if cut:
                block = bytes(data[:cut])
                del data[:cut]
                begins = max(0, begins - cut)
                self._check_lines(block, line)
                if self._plain and self._layout in ("labelled", "pairs") and opening is None:
                    opening = _first_line(block, line)
                yield Block(
                    self._index,
                    number,
                    block,
                    stream.bytes_read,
                    self._file.path,
                    line,
                    opening,
                    records,
                )
                number, line = number + 1, line + block.count(b"\n")
            if not chunk:
                return

    def _record_format(self) -> RecordFormat | None:
        file = self._file
        if self._plain:
            return None
        return RecordFormat(
            file.format,
            file.fields,
            optional=file.optional,
            columns=file.columns,
            has_header=not file.columns,
            quoting=file.quoting,
        )

    def _bytes_of(self, number: int) -> int:
        """Bytes of text to read for block `number`.

        Blocks grow, so that a small compressed file of much text has few shards.
        """
        return max(self._block_bytes, min(self._block_bytes << min(number // 64, 32), _GROWN_BLOCK))

    def _last_boundary(self, data: bytearray, searched: int) -> int:
        """The offset in `data` after its last whole document; 0 if it has no whole document.

        There is no boundary before `searched`, where a search begins: searching all of it again
        would take quadratic time in a large document. `searched` is the begin of a line.
        """
        delimiter = DELIMITERS.get(self._file.format)
        if delimiter is not None and self._file.quoting is not False:
            return after_last_record(data, delimiter)
        if self._plain and self._layout == "sentences":
            return after_last_blank_line(data, searched)
        return data.rfind(b"\n", searched) + 1

    def _check_sizes(self, data: bytearray, cut: int, begins: int, line: int) -> None:
        """Raise UserError if the document, record or line at the end of `data` is too large.

        `cut`: the end of the last whole document. `begins`: where the last line begins.
        """
        if self._plain and len(data) - cut > LARGEST_DOCUMENT:
            raise UserError(
                f"{self._file.path}: one document is larger than {LARGEST_DOCUMENT // 2**20} MB. "
                f"{self._advice()}"
            )
        if not self._plain and len(data) - cut > LONGEST_RECORD:
            raise self._long_line(line + data.count(b"\n", 0, cut))
        if len(data) - begins > self._longest_line:
            raise self._long_line(line + data.count(b"\n"))

    def _check_lines(self, block: bytes, first: int) -> None:
        """Raise UserError if a line of `block` is too long; `first`: the number of its first line.

        Jumps from line end to line end, each time as far as one line may reach.
        """
        at = 0
        while len(block) - at > self._longest_line:
            end = block.rfind(b"\n", at, at + self._longest_line + 1)
            if end < 0:
                raise self._long_line(first + block.count(b"\n", 0, at))
            at = end + 1

    def _long_line(self, number: int) -> UserError:
        place = f"{self._file.path}:{number}"
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
        what = {"pairs": "pair", "labelled": "labelled text"}.get(self._layout, "document")
        return (
            f"With data.layout: {self._layout} each line is a {what}. Check that the file has "
            "line ends."
        )


def _first_line(data: bytes, number: int) -> FirstLine | None:
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
