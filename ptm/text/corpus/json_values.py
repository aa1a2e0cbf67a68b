"""Files that are one JSON value each: read whole, and cut into blocks of entries.

The data of a block has one entry per line, as JSON: a list whose first item is the key path of the
entry, for messages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ptm.errors import UserError
from ptm.limits import LONGEST_RECORD, MOST_TEXT_BYTES
from ptm.text.corpus.blocks import Block, RecordFormat
from ptm.text.corpus.encodings import TextStream
from ptm.text.corpus.files import CorpusFile, Format
from ptm.text.corpus.streams import open_stream

_CHUNK = 2**20


def json_value(file: CorpusFile, *, formats: str) -> tuple[Any, int]:
    """The JSON value of a file, and how many stored bytes it has.

    `formats`: a sentence on the formats that are read. Raises UserError if the file is not JSON.
    """
    text, read = text_of(file)
    try:
        return json.loads(text), read
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file.path}{json_problem(error)} {formats}") from error


def entry_blocks(
    file: CorpusFile,
    entries: Iterable[Sequence[Any]],
    *,
    name: Format,
    noun: str,
    read: int,
    index: int,
    bytes_of: Callable[[int], int],
) -> Iterator[Block]:
    """Yield blocks of entries, of about `bytes_of(number)` bytes each.

    `noun`: what an entry is called. Raises UserError if there are no entries, or one is too long.
    """
    lines: list[bytes] = []
    number, first, size = 0, 1, 0
    records = RecordFormat(name, ())

    def block() -> Block:
        data = b"".join(lines)
        return Block(index, number, data, read, file.path, first, records=records)

    for entry in entries:
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if len(line) > LONGEST_RECORD:
            raise UserError(
                f"{file.path}: {entry[0]}: the {noun} is longer than "
                f"{LONGEST_RECORD // 2**20} MB. Split it."
            )
        lines.append(line)
        size += len(line)
        if size >= bytes_of(number):
            yield block()
            number, first, size = number + 1, first + len(lines), 0
            lines.clear()
    if lines:
        yield block()
    elif number == 0:
        raise UserError(f"{file.path}: the file has no questions.")


def text_of(file: CorpusFile) -> tuple[str, int]:
    """The text of a file, and how many stored bytes it has."""
    parts, size = [], 0
    with open_stream(file, whole=True) as stream:
        text = TextStream(stream, file)
        while chunk := text.read(_CHUNK):
            parts.append(chunk)
            size += len(chunk)
            if size > MOST_TEXT_BYTES:
                raise UserError(
                    f"{file.path}: the file has more than {MOST_TEXT_BYTES // 2**20} MB of JSON, "
                    "which is read at once. Split it into several files."
                )
        read = stream.bytes_read
    try:
        return b"".join(parts).decode(), read
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file.path}: the text is not valid {file.encoding.upper()} at byte {error.start}. "
            "Set data.encoding to the encoding of the file."
        ) from error


def json_problem(error: Exception) -> str:
    """What is wrong with the JSON of a file; it follows the name of the file."""
    if isinstance(error, json.JSONDecodeError):
        return f":{error.lineno}: the file is not valid JSON ({error.msg}, column {error.colno})."
    return ": the file is not valid JSON (too deeply nested, or a number is too long)."
