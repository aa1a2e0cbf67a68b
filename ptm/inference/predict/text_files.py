"""Texts to predict for: single texts or pairs, with or without labels, in any format.

Every line (or record) is an input, also one that is blank or damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ptm.errors import UserError
from ptm.inference.predict.base import InputFiles, Window
from ptm.inference.predict.input_files import InputLayout, input_windows
from ptm.recipe.corpus_block import ReadingBlock
from ptm.text.corpus import Block, CorpusFile, decode_lines
from ptm.text.corpus.parse import record_rows
from ptm.text.corpus.records import label_text
from ptm.text.labelled_lines import Columns, columns_to_predict


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

    @property
    def characters(self) -> int:
        """Characters of its texts."""
        return sum(map(len, self.texts))

    def with_place(self, place: str) -> InputText:
        """The same input at another place."""
        return replace(self, place=place)


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

    def inputs(block: Block, file: CorpusFile) -> Iterator[InputText]:
        return _inputs(block, file, is_label)

    how = InputLayout[InputText]("labelled", {"label"}, inputs)
    return input_windows(files, reading, how, window=window)


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
