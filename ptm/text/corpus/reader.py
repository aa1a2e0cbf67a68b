"""Reads a corpus file as blocks of whole documents.

Blocks are cut at document boundaries only. They can therefore be tokenised by any process, in any
order. The blocks of a file depend only on its bytes, how it is read, the layout and the block size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from ptm.text.corpus.blocks import Block, FirstLine, record_format
from ptm.text.corpus.choice_json import choice_blocks
from ptm.text.corpus.columnar import columnar_blocks
from ptm.text.corpus.delimited import DELIMITERS, after_last_record, split_header
from ptm.text.corpus.encodings import TextStream
from ptm.text.corpus.files import COLUMNAR, CorpusFile, Layout
from ptm.text.corpus.lines import (
    DocumentEnds,
    blank_lines_end_documents,
    first_text_line,
)
from ptm.text.corpus.ranges import BlockRange, block_ranges, plain_file
from ptm.text.corpus.remote import is_remote
from ptm.text.corpus.sizes import SizeLimits, bytes_of_block
from ptm.text.corpus.squad_json import squad_blocks
from ptm.text.corpus.streams import CorpusStream, open_stream

CUTTING = 2
"""Number of the rules by which files are cut into blocks; 1: before plain files had ranges."""


class CorpusReader:
    """Reads one file as blocks of whole documents.

    `index` is the file's index in the corpus. A block has `block_bytes` bytes, plus or minus a
    document: stored bytes of files that have ranges, and bytes of text of all others.
    """

    def __init__(self, file: CorpusFile, *, index: int, layout: Layout, block_bytes: int) -> None:
        self.file = file
        self._index = index
        self._layout = layout
        self._block_bytes = block_bytes
        self._ends = DocumentEnds(by_blank_lines=blank_lines_end_documents(file.format, layout))
        self._limits = SizeLimits(file, layout)

    @property
    def is_remote(self) -> bool:
        """Whether a server has the file."""
        return is_remote(self.file.path)

    def ranges(self) -> Iterator[BlockRange] | None:
        """The ranges of the blocks, in order; None if the file is read from beginning to end.

        That is a file that is remote, compressed, a table or not larger than a block. Raises
        UserError, as the iterator does, if the file is not of its format or has changed since it
        was found.
        """
        file = self.file
        if (
            self.is_remote
            or file.format not in ("text", "conll", "json_lines")
            or file.bytes <= self._block_bytes
        ):
            return None
        plain = plain_file(file, index=self._index, layout=self._layout)
        return None if plain is None else block_ranges(plain, self._block_bytes)

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks in order.

        Raises UserError if the file is damaged, is not of its format or has changed since it was
        found, RemoteReadError if a server fails.
        """
        ranges = self.ranges()
        if ranges is not None:
            line = 1
            for one in ranges:
                block = one.read(first_line=line)
                yield block
                line += block.data.count(b"\n")
        elif self.file.format in COLUMNAR:
            yield from columnar_blocks(
                self.file,
                index=self._index,
                bytes_of=partial(bytes_of_block, block_bytes=self._block_bytes),
            )
        elif self.file.format == "squad":
            yield from squad_blocks(
                self.file,
                index=self._index,
                bytes_of=partial(bytes_of_block, block_bytes=self._block_bytes),
            )
        elif self.file.format == "choices":
            yield from choice_blocks(
                self.file,
                index=self._index,
                bytes_of=partial(bytes_of_block, block_bytes=self._block_bytes),
            )
        else:
            with open_stream(self.file, whole=True) as stream:
                yield from self._streamed_blocks(stream)

    def _streamed_blocks(self, stream: CorpusStream) -> Iterator[Block]:
        text = TextStream(stream, self.file)
        data, number, line = bytearray(), 0, 1
        # Where the last line of `data` begins.
        begins = 0
        opening: FirstLine | None = None
        records = record_format(self.file)
        while True:
            chunk = text.read(bytes_of_block(number, self._block_bytes))
            # Boundaries are searched from the last line on, which the chunk continues.
            searched = begins
            new = len(data)
            data += chunk
            begins = max(begins, data.rfind(b"\n", new) + 1)
            if self.file.format in DELIMITERS and records is not None and not records.columns:
                header = split_header(self.file, data, ended=not chunk)
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
                self._limits.check_lines(block, line)
                if (
                    self.file.format == "text"
                    and self._layout in ("labelled", "pairs", "triplets")
                    and opening is None
                ):
                    opening = first_text_line(block, line)
                yield Block(
                    self._index,
                    number,
                    block,
                    stream.bytes_read,
                    self.file.path,
                    line,
                    opening,
                    records,
                )
                number, line = number + 1, line + block.count(b"\n")
            if not chunk:
                return

    def _last_boundary(self, data: bytearray, searched: int) -> int:
        """The offset in `data` after its last whole document; 0 if it has no whole document.

        There is no boundary before `searched`, where a search begins: searching all of it again
        would take quadratic time in a large document. `searched` is the begin of a line.
        """
        delimiter = DELIMITERS.get(self.file.format)
        if delimiter is not None and self.file.quoting is not False:
            return after_last_record(data, delimiter)
        return self._ends.after_last(data, searched, len(data))

    def _check_sizes(self, data: bytearray, cut: int, begins: int, line: int) -> None:
        """Raise UserError if the document, record or line at the end of `data` is too large.

        `cut`: the end of the last whole document. `begins`: where the last line begins.
        """
        if len(data) - cut > self._limits.largest_document:
            raise self._limits.large_document(line + data.count(b"\n", 0, cut))
        if len(data) - begins > self._limits.longest_line:
            raise self._limits.long_line(line + data.count(b"\n"))
