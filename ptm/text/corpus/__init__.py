"""Corpora: files in several formats and encodings, read as blocks of whole documents."""

from ptm.text.corpus.blocks import Block, FirstLine, ParsedBlock
from ptm.text.corpus.checks import check_invalid
from ptm.text.corpus.files import CorpusFile, Format, Layout, find_corpus
from ptm.text.corpus.lines import decode_lines, parse_lines
from ptm.text.corpus.ranges import BlockRange
from ptm.text.corpus.reader import CUTTING, CorpusReader
from ptm.text.corpus.recognise import ReadOptions, recognise
from ptm.text.corpus.remote import RemoteReadError

__all__ = [
    "CUTTING",
    "Block",
    "BlockRange",
    "CorpusFile",
    "CorpusReader",
    "FirstLine",
    "Format",
    "Layout",
    "ParsedBlock",
    "ReadOptions",
    "RemoteReadError",
    "check_invalid",
    "decode_lines",
    "find_corpus",
    "parse_lines",
    "recognise",
]
