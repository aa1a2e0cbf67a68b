"""The layout `pairs`: each line is `source<TAB>target`.

A header that names the columns is optional, and lets a file have more columns.
"""

from __future__ import annotations

from dataclasses import dataclass

from ptm.errors import UserError
from ptm.text.corpus import Block, FirstLine, ParsedBlock, decode_lines

_CHARACTERS_SHOWN = 40
_NAMES = (("source", "target"), ("src", "tgt"))
"""Names of the two columns in a header."""


@dataclass(frozen=True)
class _Columns:
    """How many columns the lines of a file have, and which are source and target."""

    count: int = 2
    source: int = 0
    target: int = 1
    header: int | None = None
    """Line number of the header; None without one."""


def _columns_of(opening: FirstLine | None) -> _Columns:
    """The columns of the file whose first line is `opening`."""
    names = [cell.strip().lower() for cell in opening.text.split("\t")] if opening else []
    for source, target in _NAMES:
        if names.count(source) == names.count(target) == 1 and opening is not None:
            return _Columns(
                len(names), names.index(source), names.index(target), header=opening.number
            )
    return _Columns()


def parse_pairs(block: Block) -> ParsedBlock:
    """Parse the pairs of a block as documents of two sentences; either may be empty.

    Lines that are not UTF-8, or that contain a NUL byte, are left out and counted. Raises
    UserError, naming file and line, if a line is not a pair.
    """
    lines = decode_lines(block.data)
    columns = _columns_of(block.opening)
    pairs: list[list[str]] = []
    blank = 0
    for number, line in enumerate(lines.texts, start=block.first_line):
        if line is None or number == columns.header:
            continue
        if not line.strip():
            blank += 1
            continue
        cells = line.split("\t")
        if len(cells) != columns.count:
            place = f"{block.path}:{number}"
            if columns.header is not None:
                raise UserError(
                    f"{place}: the line has {len(cells)} columns, but the header has "
                    f"{columns.count}. Replace a TAB inside a text by a space."
                )
            raise UserError(_not_a_pair_message(place, line, cells))
        pairs.append([cells[columns.source].strip(), cells[columns.target].strip()])
    return ParsedBlock(
        pairs,
        len(lines.texts),
        blank,
        lines.invalid,
        lines.first_invalid,
        problem=lines.problem,
    )


def _not_a_pair_message(place: str, line: str, columns: list[str]) -> str:
    begin = line.strip()[:_CHARACTERS_SHOWN]
    what = (
        f'{place}: "{begin}" is not a pair. With data.layout: pairs each line is '
        "source<TAB>target, "
    )
    if len(columns) > 2:
        return what + (
            f"but this line has {len(columns) - 1} TABs. Keep two of several columns with e.g. "
            "`cut -f1,2`, and replace a TAB inside a text by a space."
        )
    if "|||" in line:
        return what + "but this line has no TAB. Replace `|||` by a TAB (`sed 's/ *||| */\\t/'`)."
    return what + (
        "but this line has no TAB. Join two line-aligned files with `paste SOURCE TARGET`; for "
        "single texts set data.layout: documents."
    )
