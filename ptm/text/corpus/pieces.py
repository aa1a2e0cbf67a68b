"""Cuts blocks into pieces, so that only a part of a block is text in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ptm.text.corpus.blocks import Block
from ptm.text.corpus.files import Layout
from ptm.text.corpus.lines import DocumentEnds

_PIECE_BYTES = 2**22


def pieces(block: Block, layout: Layout) -> Iterator[Block]:
    """Cut a block into pieces of whole documents, each of about 4 MB.

    Only lines of text and JSON lines are cut. A record of a table may have several lines, and
    blocks of tables are one piece.
    """
    if block.records is not None and block.records.format != "json_lines":
        yield block
        return
    ends = DocumentEnds(by_blank_lines=block.records is None and layout == "sentences")
    begin, line = 0, block.first_line
    while True:
        end = _end_of_piece(block.data, begin, ends)
        piece = replace(block, data=block.data[begin:end], first_line=line)
        yield piece
        begin, line = end, line + piece.data.count(b"\n")
        if begin == len(block.data):
            return


def _end_of_piece(data: bytes, begin: int, ends: DocumentEnds) -> int:
    """Where the last document ends that fits into a piece from `begin`, or else the first one."""
    size = _PIECE_BYTES
    while begin + size < len(data):
        end = ends.after_last(data, begin, begin + size)
        if end:
            return end
        size *= 2
    return len(data)
