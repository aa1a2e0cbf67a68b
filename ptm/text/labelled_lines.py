"""The layout `labelled`: each line is `label<TAB>text` or `label<TAB>text_a<TAB>text_b`.

A header that names the columns is optional. The first line of a file says which columns all its
lines have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ptm.errors import UserError
from ptm.text.corpus import Block, FirstLine, ParsedBlock, decode_lines
from ptm.text.labels import LabelSet, MultiLabelSet

_LABEL, _SECOND = "label", "text_b"
_FIRST = ("text_a", "text")
"""Names of the column of the first, or only, text."""
_CHARACTERS_SHOWN = 40


@dataclass(frozen=True)
class Columns:
    """The columns of a file: how many there are, and the indexes of label and texts."""

    count: int
    label: int | None
    """None for texts without labels, which only predictions read."""
    texts: tuple[int, ...]
    """One index, or two for pairs of texts."""
    header: bool
    """Whether the first line of the file is a header."""

    @property
    def form(self) -> str:
        """The form of a line, for messages."""
        if self.header:
            return f"{self.count} columns"
        return "label<TAB>text_a<TAB>text_b" if len(self.texts) == 2 else "label<TAB>text"


def columns_of(path: str, opening: FirstLine, labels: LabelSet) -> Columns:
    """Return the columns of the file whose first line is `opening`.

    That line is a header if it names the column `label`, and none of its cells is a declared label.
    Raises UserError if a header is not usable, or if a line without header has not 2 or 3 columns.
    """
    cells = opening.text.split("\t")
    names = [cell.strip().lower() for cell in cells]
    place = f"{path}:{opening.number}"
    if _LABEL in names and not any(cell in labels for cell in cells):
        return _from_header(place, names)
    if len(cells) not in (2, 3):
        raise UserError(
            f'{place}: "{_begin(opening.text)}" is not a labelled text (columns: {len(cells)}). '
            "With data.layout: labelled each line is label<TAB>text or "
            "label<TAB>text_a<TAB>text_b. A file with other columns needs a header with the "
            "names label, text_a and, for pairs of texts, text_b."
        )
    return Columns(len(cells), 0, tuple(range(1, len(cells))), header=False)


def columns_to_predict(path: str, opening: FirstLine, is_label: Callable[[str], bool]) -> Columns:
    """Return the columns of a file of texts, maybe with labels, whose first line is `opening`.

    That line is a header if it names the column `text` or `text_a`. Without a header, one column is
    a text, and three are label and pair. Two are label and text if `is_label` accepts the first
    cell, else a pair of texts. Raises UserError for other columns.
    """
    cells = opening.text.split("\t")
    names = [cell.strip().lower() for cell in cells]
    place = f"{path}:{opening.number}"
    if set(_FIRST) & set(names):
        return _from_header(place, names)
    count = len(cells)
    if count > 3:
        raise UserError(
            f'{place}: "{_begin(opening.text)}" has {count} columns, and without a header which of '
            "them are the texts is not known. Add a header with the names text_a and, for pairs "
            "of texts, text_b, or keep the texts only, e.g. with `cut -f1,2`."
        )
    if count == 1 or (count == 2 and not is_label(cells[0].strip())):
        return Columns(count, None, tuple(range(count)), header=False)
    return Columns(count, 0, tuple(range(1, count)), header=False)


def _from_header(place: str, names: Sequence[str]) -> Columns:
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise UserError(
            f'{place}: the header names the column "{repeated}" twice. Rename one of them.'
        )
    first = [name for name in _FIRST if name in names]
    if len(first) != 1:
        what = "both text and text_a" if first else "no column text or text_a"
        raise UserError(
            f"{place}: the header has {what}. Name the column of the text text_a, and with pairs "
            "of texts the second one text_b."
        )
    second = [_SECOND] if _SECOND in names else []
    texts = tuple(names.index(name) for name in (*first, *second))
    label = names.index(_LABEL) if _LABEL in names else None
    return Columns(len(names), label, texts, header=True)


def parse_labelled(block: Block, labels: LabelSet) -> ParsedBlock:
    """Parse the lines of a block as documents of one or two texts, each with a class index.

    Blank lines, lines that are not UTF-8 and lines with NUL bytes are left out and counted. Raises
    UserError, naming file and line, if a line has other columns than the file's first one, an empty
    text, or a label that is not one of `labels`.
    """
    lines = decode_lines(block.data)
    opening = block.opening
    # A block before the file's first line of text has no lines to parse.
    columns = columns_of(block.path, opening, labels) if opening is not None else None
    documents: list[list[str]] = []
    indexes: list[int] = []
    label_counts: list[int] = []
    blank = ignored = 0
    for number, line in enumerate(lines.texts, start=block.first_line):
        if line is None:
            continue
        if not line.strip():
            blank += 1
            continue
        assert opening is not None, "a line of text comes after the first one, or is it"
        assert columns is not None, "the first line has columns"
        if number == opening.number and columns.header:
            continue
        place = f"{block.path}:{number}"
        cells = _cells(place, line, columns)
        assert columns.label is not None, "the columns of labelled texts have a label"
        if cells[columns.label].strip() in labels.ignored:
            ignored += 1
            continue
        try:
            found = labels.indexes_of(cells[columns.label])
        except UserError as error:
            hint = _HEADER_HINT if number == opening.number else ""
            raise UserError(f"{place}: {error}{hint}") from error
        indexes += found
        label_counts.append(len(found))
        documents.append([cells[at].strip() for at in columns.texts])
    return ParsedBlock(
        documents,
        len(lines.texts),
        blank,
        lines.invalid,
        lines.first_invalid,
        indexes,
        label_counts if isinstance(labels, MultiLabelSet) else None,
        problem=lines.problem,
        ignored=ignored,
    )


_HEADER_HINT = " If the line is a header, name its columns label, text_a and text_b."


def _cells(place: str, line: str, columns: Columns) -> list[str]:
    """The cells of a line. Raises UserError if their number is wrong or a text is empty."""
    cells = line.rstrip("\r").split("\t")
    if len(cells) != columns.count:
        pair = "" if columns.header or len(cells) != 3 else ", so it is a pair of texts"
        raise UserError(
            f'{place}: "{_begin(line)}" has {len(cells)} columns{pair}, but the first line of the '
            f"file promises {columns.form}. Replace a TAB inside a text by a space, and give "
            "every line of a file the same columns."
        )
    for number, at in enumerate(columns.texts, start=1):
        if not cells[at].strip():
            which = f"text {number} of the pair" if len(columns.texts) == 2 else "the text"
            raise UserError(f"{place}: {which} is empty. Write a text, or remove the line.")
    return cells


def _begin(line: str) -> str:
    return line.strip()[:_CHARACTERS_SHOWN]
