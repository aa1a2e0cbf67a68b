"""What a reader of a corpus gives to the processes that parse it: blocks of whole documents."""

from __future__ import annotations

from dataclasses import dataclass

from ptm.text.corpus.files import COLUMNAR, CorpusFile, Format


@dataclass(frozen=True)
class FirstLine:
    """The first line of a file that is text and not blank, with its number, from 1."""

    number: int
    text: str


@dataclass(frozen=True)
class RecordFormat:
    """How the records of a file are read; the same for all its blocks."""

    format: Format
    fields: tuple[str, ...]
    """Names of the fields that the layout needs, in the order of `ptm.text.corpus.roles`."""
    optional: tuple[str, ...] = ()
    """The fields that a record of JSON lines may lack; the value is then None."""
    columns: tuple[str, ...] = ()
    """The names of the columns of a CSV or TSV file."""
    has_header: bool = True
    """Whether the first record of a CSV or TSV file has these names."""
    quoting: bool | None = None
    """Whether the fields of CSV and TSV may be in double quotes; None: they may, unless these join
    records."""


def record_format(file: CorpusFile) -> RecordFormat | None:
    """How the records of a file are read, before its header is read; None for plain text."""
    if file.format == "text":
        return None
    return RecordFormat(
        file.format,
        file.fields,
        optional=file.optional,
        columns=file.columns,
        has_header=not file.columns,
        quoting=file.quoting,
    )


@dataclass(frozen=True)
class Block:
    """Whole documents of one file: their raw bytes and their position in the file."""

    file: int
    """Index of the file in the corpus."""
    number: int
    """Index of the block in the file, from 0."""
    data: bytes
    """The text, decompressed and in UTF-8; of parquet and Arrow files a stream of Arrow batches
    that have the needed columns."""
    bytes_read: int
    """Bytes of the stored (maybe compressed) file that were read up to the end of this block."""
    path: str
    first_line: int
    """Line number in the file, from 1, of the block's first line; of parquet and Arrow files the
    number of its first row. It may be too small in a range, see `BlockRange.read`."""
    opening: FirstLine | None = None
    """The file's first line of text, from which every block knows the columns; plain text with the
    layouts `labelled` and `pairs` only."""
    records: RecordFormat | None = None
    """How the records are read; None for plain text."""

    def place(self, index: int) -> str:
        """Where a line (or row) of the block is, for messages; `index` counts from 0."""
        name = self.records.format if self.records else "text"
        return place_in(self.path, name, self.first_line + index)


def place_in(path: str, name: Format, number: int) -> str:
    """A line of a file, or a row of a table, for messages; `number` counts from 1."""
    return f"{path}, row {number}" if name in COLUMNAR else f"{path}:{number}"


@dataclass(frozen=True)
class ParsedBlock:
    """The decoded documents of a block, and counts of its lines."""

    documents: list[list[str]]
    """Documents, each a list of its sentences. With layout `documents` each has one; with layout
    `pairs` each has two, source and target, and either may be empty; with layout `labelled` each
    has one or two texts, none of them empty; with layout `tagged` each has the words of a sentence,
    none of them empty."""
    lines: int
    """All lines of the block, blank and invalid ones included; rows of parquet and Arrow files."""
    blank: int
    """Blank lines, and records whose text is empty."""
    invalid: int
    """Lines and records that are left out because they are damaged."""
    first_invalid: int | None
    """Index in the block, from 0, of the first line that is left out."""
    labels: list[int] | None = None
    """The class index of each document, with layout `labelled`; of each word, with `tagged`. The
    indexes of a document with several labels follow each other."""
    label_counts: list[int] | None = None
    """The number of labels of each document, if it may have several; None if each has one."""
    problem: str = ""
    """What is wrong with the first line that is left out; "" if it cannot be decoded."""
    repaired: int = 0
    """Tags that broke the rules of their scheme and were repaired, with layout `tagged`."""
    first_repaired: int | None = None
    """Index in the block, from 0, of the line with the first of them."""
    ignored: int = 0
    """Examples that are left out because of their label."""
