"""Files that are no plain text, recognised by their first lines: JSON lines, tables, binary files.

A training on braces, keys and labels succeeds and is worth nothing.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from itertools import islice

from ptm.errors import UserError
from ptm.text.corpus.files import CorpusFile, Layout
from ptm.text.corpus.headers import is_usual_name
from ptm.text.corpus.json_documents import are_json_lines, json_document
from ptm.text.corpus.json_lines import objects_in, paths_of

_LINES = 5
"""Lines that have to agree."""
_JSON_SHARE = 0.8
"""Share of them that are JSON objects if the file is JSON lines: one may be damaged."""
_BEGIN = 2**16
_TEXT_FIELDS = ("text", "content", "sentence", "article", "document", "body", "raw_content")
_COLUMNS = {
    *("label", "labels", "text", "text_a", "text_b", "sentence", "sentence1", "sentence2"),
    *("content", "title", "query", "question", "answer", "premise", "hypothesis", "target"),
    *("source", "src", "tgt", "review"),
}
_NAME = re.compile(r"[A-Za-z_][\w .-]{0,30}", re.ASCII)
_SHORT_NAME = re.compile(r"[A-Za-z_][\w.-]{0,30}", re.ASCII)
_RECORDS = 20
"""Records with commas that have to agree. Sentences have commas too, so that few say little."""
_BINARY = {
    b"PK\x03\x04": "a ZIP archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x1f\x8b": "gzip inside another compression",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a program",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"SQLite format 3": "an SQLite database",
    b"\x93NUMPY": "a numpy array",
    b"PAR1": "parquet",
    b"ARROW1": "Arrow",
    b"FEA1": "feather of version 1",
}
"""First bytes -> what the file is."""
_TAR_AT = 257
"""Where the mark of a tar archive is."""
_NOT_CONTROL = bytes({*range(256)} - {*range(32)} | {*b"\t\n\v\f\r\x1b"})
_CONTROL_SHARE = 0.01
"""With a larger share of control characters a file is not text, not merely damaged."""


def check_is_text(file: CorpusFile, begin: bytes) -> None:
    """Raise UserError if a file is binary; `begin`: its first bytes as UTF-8."""
    _check_not_binary(file, begin[:_BEGIN])


def check_is_plain(file: CorpusFile, begin: bytes, layout: Layout) -> None:
    """Raise UserError if a file that would be read as plain text is of another format.

    `begin`: its first bytes as UTF-8. The error names the key of the recipe that reads it.
    """
    texts = first_lines(begin, _LINES)
    if are_json_lines(texts, share=_JSON_SHARE):
        names = next(paths_of(one) for text in texts for one in objects_in([text]) or [])
        raise _json_error(file.path, names, layout)
    document = json_document(begin)
    if document is not None:
        raise UserError(f"{file.path}:1: {document}")
    columns = _header(texts) or _delimited_header(begin)
    if columns is not None and layout in ("documents", "sentences"):
        named = (column for column in columns if column.lower() in _COLUMNS - {"label", "labels"})
        text = next(named, columns[-1])
        raise UserError(
            f"{file.path}:1: the file is a table with the columns {', '.join(columns)}, and "
            f"data.layout: {layout} would train on labels and names. To read one column, set "
            f"data.text_field: {text}. For texts with labels set data.layout: labelled, for source "
            "and target data.layout: pairs. data.format: text reads the lines as they are."
        )


def first_lines(begin: bytes, count: int) -> list[str]:
    """The first lines of `begin` that are not blank, at most `count`, without their ends.

    A last line without line end counts only if it is the only one: it may be cut off.
    """
    kept: list[str] = []
    at = 0
    while len(kept) < count and at < len(begin):
        end = begin.find(b"\n", at)
        if end < 0 and kept:
            break
        line = begin[at : end if end >= 0 else len(begin)]
        text = line.decode("utf-8", errors="replace").strip("\r ")
        if text.strip():
            kept.append(text)
        at = end + 1 if end >= 0 else len(begin)
    return kept


def likely_text_field(names: Sequence[str]) -> str:
    """The name that is probably the text's."""
    return next((name for name in _TEXT_FIELDS if name in names), names[0] if names else "text")


def _check_not_binary(file: CorpusFile, begin: bytes) -> None:
    kind = next((_BINARY[magic] for magic in _BINARY if begin.startswith(magic)), None)
    if begin[_TAR_AT:].startswith(b"ustar"):
        kind = "a tar archive"
    controls = len(begin.translate(None, delete=_NOT_CONTROL))
    if kind is None and controls > max(16, _CONTROL_SHARE * len(begin)):
        kind = "a binary file, or text in another encoding such as UTF-16"
    if kind is not None:
        raise UserError(
            f"{file.path}: the file is {kind}, not text in {file.encoding}. A corpus is text, JSON "
            "lines, CSV, TSV, parquet or Arrow; data.format and data.encoding say how it is read."
        )


def _json_error(path: str, names: list[str], layout: Layout) -> UserError:
    shown = f"the lines are JSON objects (fields: {', '.join(names)})"
    if layout == "pairs":
        key = "data.fields: {source: NAME, target: NAME}"
    elif layout == "triplets":
        key = "data.fields: {anchor: NAME, positive: NAME, negative: NAME}"
    elif layout == "tagged":
        key = "data.fields: {tokens: NAME, tags: NAME}"
    elif layout == "questions":
        key = "data.fields: {context: NAME, question: NAME}"
    elif layout == "choices":
        key = "data.fields: {context: NAME, question: NAME, choices: NAME, label: NAME}"
    elif layout == "labelled":
        key = "data.fields: {label: NAME, text: NAME}"
    else:
        return UserError(
            f"{path}: {shown}, and data.layout: {layout} would train on braces and keys. Set "
            f"data.text_field: {likely_text_field(names)}, the field that has the text, or "
            "data.format: text if the lines are to be read as they are."
        )
    return UserError(f"{path}: {shown}, but plain text was expected. Set {key}.")


def _header(texts: list[str]) -> list[str] | None:
    """The columns of a table: names in the first line, and as many columns in the others."""
    columns = texts[0].split("\t") if texts else []
    named = all(_NAME.fullmatch(column) for column in columns)
    if len(columns) < 2 or len(texts) < 2 or not named:
        return None
    usual = all(map(is_usual_name, columns))
    if not usual and not _COLUMNS & {column.lower() for column in columns}:
        return None
    same = all(text.count("\t") == len(columns) - 1 for text in texts[1:])
    return columns if same else None


def _delimited_header(begin: bytes) -> list[str] | None:
    """The columns of CSV: short names, and as many fields in each of the next records."""
    return _header_by(begin, ",") or _header_by(begin, ";")


def _header_by(begin: bytes, delimiter: str) -> list[str] | None:
    text = io.StringIO(begin.decode("utf-8", errors="replace"), newline="")
    try:
        records = list(
            islice(filter(None, csv.reader(text, delimiter=delimiter, strict=True)), 1 + _RECORDS)
        )
    except csv.Error:
        return None
    if len(records) <= _RECORDS:
        return None
    columns = records[0]
    named = all(_SHORT_NAME.fullmatch(column) for column in columns)
    known = _COLUMNS & {column.lower() for column in columns}
    if not named or len(set(columns)) < len(columns) or len(columns) < (2 if known else 3):
        return None
    # Between the clauses of a sentence, a space follows each comma or semicolon.
    prose = any(all(field.startswith(" ") for field in record[1:]) for record in records)
    same = all(len(record) == len(columns) for record in records)
    return columns if same and not prose else None
