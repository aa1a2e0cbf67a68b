"""Files of texts to predict for: single texts or pairs, with or without labels, in any format.

Every line (or record) is an input, also one that is blank or damaged, so that line n of the output
belongs to line n of the input.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ptm.errors import UserError
from ptm.inference.predict.base import InputFiles, Window
from ptm.recipe.corpus_block import ReadingBlock
from ptm.text.corpus import (
    Block,
    CorpusFile,
    CorpusReader,
    ReadOptions,
    decode_lines,
    find_corpus,
    recognise,
)
from ptm.text.corpus.parse import record_rows
from ptm.text.corpus.pieces import pieces
from ptm.text.corpus.records import label_text
from ptm.text.labelled_lines import Columns, columns_to_predict

STDIN = "-"
STDIN_NAME = "stdin"
_BLOCK_BYTES = 2**18
_CHARACTERS = 2**22
"""Characters after which a window ends, so that its memory is bounded whatever the texts are."""


@dataclass(frozen=True)
class InputText:
    """One text, or a pair of texts."""

    place: str
    """File and line, for messages."""
    texts: tuple[str, ...]
    """Empty if the line is blank or damaged."""
    label: str | None = None
    """The label as it is written in the file; None without labels."""
    problem: str = ""
    """What is wrong with a damaged line; "" for a text or a blank line."""


def text_windows(
    files: InputFiles,
    reading: ReadingBlock | None,
    *,
    is_label: Callable[[str], bool],
    window: int,
) -> Iterator[Window[InputText]]:
    """Yield the inputs of all files in order, at most `window` at a time.

    `reading`: how the recipe reads its corpus; its fields and quoting are defaults. `is_label`:
    whether a cell is a label, if a line without header may begin with one. Raises UserError if a
    file cannot be read, or a line of plain text has other columns than the file's first one.
    """
    with found_files(files) as (found, copy):
        for one in _windows(files, found, reading, is_label=is_label, window=window):
            yield one if copy is None else _renamed(one, copy)


def _renamed(window: Window[InputText], copy: Path) -> Window[InputText]:
    """`window` with places that name standard input, and not the copy of it."""
    inputs = [replace(one, place=one.place.replace(str(copy), STDIN_NAME)) for one in window.inputs]
    return replace(window, inputs=inputs)


@contextmanager
def found_files(files: InputFiles) -> Iterator[tuple[list[CorpusFile], Path | None]]:
    """The files, standard input copied to a temporary one, and the path of that copy.

    A UserError of the body names standard input, and not the copy of it.
    """
    copy = None
    with ExitStack() as stack:
        found: list[CorpusFile] = []
        for pattern in files.patterns:
            if pattern != STDIN:
                found += find_corpus([pattern], field="FILE")
                continue
            if copy is not None:
                raise UserError("FILE: - is given twice, but standard input can be read only once.")
            copy = Path(stack.enter_context(tempfile.TemporaryDirectory())) / STDIN_NAME
            # Formats and fields are recognised by the first bytes, which a pipe gives only once.
            with copy.open("wb") as out:
                shutil.copyfileobj(sys.stdin.buffer, out)
            if not copy.stat().st_size:
                raise UserError("standard input is empty.")
            found += find_corpus([str(copy)], field="FILE")
        try:
            yield found, copy
        except UserError as error:
            if copy is None:
                raise
            lines = (str(line).replace(str(copy), STDIN_NAME) for line in error.args)
            raise UserError(*lines) from error


def _windows(
    files: InputFiles,
    found: Sequence[CorpusFile],
    reading: ReadingBlock | None,
    *,
    is_label: Callable[[str], bool],
    window: int,
) -> Iterator[Window[InputText]]:
    declared = reading.field_names if reading is not None else {}
    options = ReadOptions(
        format=files.format,
        encoding=files.encoding,
        fields={**declared, **files.fields},
        fields_required=bool(files.fields),
        quoting=reading.quoting if reading is not None else None,
        columns=(reading.columns or ()) if reading is not None else (),
        key="",
    )
    optional = {"label"} - set(files.fields)
    recognised = recognise(found, "labelled", options, optional=optional)
    total = sum(file.bytes for file in recognised)
    inputs: list[InputText] = []
    characters = done = 0
    for index, file in enumerate(recognised):
        reader = CorpusReader(file, index=index, layout="labelled", block_bytes=_BLOCK_BYTES)
        bytes_read = 0
        for block in reader.blocks():
            bytes_read = block.bytes_read
            for piece in pieces(block, "labelled"):
                for one in _inputs(piece, file, is_label):
                    inputs.append(one)
                    characters += sum(map(len, one.texts))
                    if len(inputs) >= window or characters >= _CHARACTERS:
                        yield Window(inputs, done + bytes_read, total)
                        inputs, characters = [], 0
        done += bytes_read
    if inputs:
        yield Window(inputs, done, total)


def _inputs(block: Block, file: CorpusFile, is_label: Callable[[str], bool]) -> Iterator[InputText]:
    if block.records is None:
        return _lines(block, is_label)
    return _records(block, file.roles)


def _lines(block: Block, is_label: Callable[[str], bool]) -> Iterator[InputText]:
    """The lines of plain text. Raises UserError if one has other columns than the first one."""
    opening = block.opening
    columns = columns_to_predict(block.path, opening, is_label) if opening is not None else None
    lines = decode_lines(block.data)
    for number, line in enumerate(lines.texts, start=block.first_line):
        place = f"{block.path}:{number}"
        if line is None:
            yield InputText(place, (), problem=lines.problem or "the line is not valid UTF-8")
        elif not line.strip():
            yield InputText(place, ())
        elif columns is not None and opening is not None:
            if columns.header and number == opening.number:
                continue
            yield _line(place, line, columns)


def _line(place: str, line: str, columns: Columns) -> InputText:
    cells = [cell.strip() for cell in line.rstrip("\r").split("\t")]
    if len(cells) != columns.count:
        raise UserError(
            f"{place}: the line has {len(cells)} columns, but the first line of the file has "
            f"{columns.count}. Replace a TAB inside a text by a space."
        )
    label = None if columns.label is None else cells[columns.label]
    texts = tuple(cells[at] for at in columns.texts)
    return InputText(place, texts if all(texts) else (), label)


def _records(block: Block, roles: Sequence[str]) -> Iterator[InputText]:
    """The records of JSON lines and tables."""
    assert block.records is not None, "the format of records is known"
    for index, values, problem in record_rows(block, block.records):
        place = block.place(index)
        if values is None:
            yield InputText(place, (), problem=problem or "the line cannot be decoded")
        elif not values:
            yield InputText(place, ())
        else:
            yield _record(place, dict(zip(roles, values, strict=True)))


def _record(place: str, values: dict[str, Any]) -> InputText:
    label = label_text(values["label"]) if values.get("label") is not None else None
    texts = [values[role] for role in ("text", "text_b") if role in values]
    wrong = next((text for text in texts if type(text) is not str), "")
    if wrong != "":
        return InputText(place, (), label, f"a text is {type(wrong).__name__}, not a text")
    stripped = tuple(text.replace("\0", " ").strip() for text in texts)
    return InputText(place, stripped if all(stripped) else (), label)
