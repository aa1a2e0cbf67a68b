"""CSV and TSV with a header, by the rules of Python's csv module, quotes included.

Excel writes CSV with semicolons wherever a comma is the decimal sign.

A quoted field may contain line ends. A block is therefore cut at a line end outside of quotes.
"""

from __future__ import annotations

import csv
import io
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ptm.errors import UserError
from ptm.limits import LONGEST_RECORD
from ptm.text.corpus.blocks import Block, RecordFormat
from ptm.text.corpus.files import CorpusFile, Format
from ptm.text.corpus.records import Row

DELIMITERS: Mapping[Format, str] = {"csv": ",", "csv_semicolon": ";", "tsv": "\t"}

_LONGEST_HEADER = 2**20
"""Bytes."""
_QUOTED = {
    # A quote opens a field at its beginning only. "" is a quote inside it.
    delimiter: re.compile(
        rb'(?<![^%s\r\n])"[^"]*+(?:""[^"]*+)*+(?:"|\Z)' % re.escape(delimiter.encode())
    )
    for delimiter in DELIMITERS.values()
}


@dataclass(frozen=True)
class Header:
    """The header of a file: its column names, and how many lines it takes."""

    columns: tuple[str, ...]
    lines: int


def after_last_record(data: bytearray, delimiter: str) -> int:
    """The offset after the last line end outside of quotes, or 0; `data` begins with a record."""
    # A field whose quote is not closed yet reaches to the end.
    spans = [match.span() for match in _QUOTED[delimiter].finditer(data)] if b'"' in data else []
    end = data.rfind(b"\n")
    while end >= 0:
        at = bisect_right(spans, (end, len(data))) - 1
        if at < 0 or spans[at][1] <= end:
            return end + 1
        end = data.rfind(b"\n", 0, spans[at][0])
    return 0


def split_header(file: CorpusFile, data: bytearray, *, ended: bool) -> Header | None:
    """The header at the begin of `data`: the first record that is not blank.

    Returns None if the record is not complete and the file has not `ended`. Raises UserError if the
    file has no header, or if a column that is needed occurs twice in it.
    """
    begin = bytes(data[:_LONGEST_HEADER])
    stream = io.StringIO(begin.decode("utf-8", errors="replace"), newline="\n")
    reader = _reader(stream, file.format, quoting=file.quoting is not False)
    try:
        names: list[str] = next((record for record in reader if record), [])
    except csv.Error as error:
        raise UserError(
            f"{file.path}:{reader.line_num}: the header is damaged ({error})."
        ) from error
    text = stream.getvalue()[: stream.tell()]
    if not names or not text.endswith("\n"):
        if not ended and len(begin) < _LONGEST_HEADER:
            return None
        if not names or not ended:
            raise UserError(f"{file.path}: the file has no header line that names its columns.")
    columns = tuple(name.strip() for name in names)
    return Header(columns, text.count("\n"))


def quotes_fields(file: CorpusFile, begin: bytes) -> bool:
    """Whether quotes in a file enclose fields, judged by its first bytes.

    A CSV file without such quotes is rare, a TSV file is not: its quotes are then part of the
    texts, and reading by them would join records. They are taken for such quotes if every line has
    the columns of the header, but csv's rules find a damaged record or one of several lines.
    """
    if file.format != "tsv":
        return True
    text = begin.decode("utf-8", errors="replace")
    # The last line may be cut off.
    lines = [line for line in text.split("\n")[:-1] if line.strip()]
    width = lines[0].count("\t") if lines else 0
    if not width or any(line.count("\t") != width for line in lines):
        return True
    stream = io.StringIO("".join(f"{line}\n" for line in lines), newline="\n")
    try:
        records = sum(1 for _ in _reader(stream, file.format, quoting=True, strict=True))
    except csv.Error:
        return False
    return records == len(lines)


def _joins_records(lines: list[str], name: Format, width: int) -> bool:
    """Whether quotes make one record of several lines that have `width` cells each."""
    if name != "tsv" or width < 2 or len(lines) < 2:
        return False
    return all(line.count("\t") == width - 1 for line in lines)


def _reader(stream: io.StringIO, name: Format, *, quoting: bool, strict: bool = False) -> Any:
    csv.field_size_limit(LONGEST_RECORD)
    return csv.reader(
        stream,
        delimiter=DELIMITERS[name],
        quoting=csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE,
        strict=strict,
    )


def delimited_rows(block: Block, records: RecordFormat) -> Iterator[Row]:
    """The rows of a block; a damaged record has a problem instead of values."""
    indexes = [records.columns.index(field) for field in records.fields]
    width = len(records.columns)
    is_header = block.number == 0 and records.has_header
    text = block.data.decode("utf-8", errors="surrogateescape")
    quoting = records.quoting is not False
    # Declared quotes are not doubted.
    lines = text.split("\n") if records.quoting is None and '"' in text else []
    stream = io.StringIO(text, newline="\n")
    reader = _reader(stream, records.format, quoting=quoting, strict=True)
    while True:
        line = reader.line_num
        problem = ""
        cells: list[str] = []
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"the record is damaged ({error}; data.quoting says what quotes mean)"
        ended = reader.line_num
        if lines and _joins_records(lines[line:ended], records.format, width):
            raise UserError(
                f"{block.place(line)}: a quote begins a field, and the next quote is "
                f"{ended - line - 1} lines below. Each of these lines is a whole record, so quotes "
                "are part of the texts. Set data.quoting: false (or true, if texts have TABs)."
            )
        if cells and is_header:
            is_header = False
            continue
        if cells and len(cells) != width:
            named = "the header has" if records.has_header else "data.columns names"
            problem = f"the record has {len(cells)} columns, but {named} {width}"
        if problem:
            # Each line of the record is lost.
            yield from ((lost, None, problem) for lost in range(line, ended))
        else:
            yield line, tuple([cells[index] for index in indexes]) if cells else (), ""
