"""The layout `pairs`: a line is `source<TAB>target`."""

from __future__ import annotations

from ptm.errors import UserError
from ptm.text.corpus import Block, Lines, decoded_lines

_CHARACTERS_SHOWN = 40


def parse_pairs(block: Block) -> Lines:
    """The pairs of a block as documents of two sentences, of which either may be empty.

    Lines that are not UTF-8 are left out and counted. Raises UserError, naming file and line, where
    a line is no pair.
    """
    lines = decoded_lines(block.data)
    pairs: list[list[str]] = []
    blank = 0
    for number, line in enumerate(lines.texts):
        if line is None:
            continue
        if not line.strip():
            blank += 1
            continue
        columns = line.split("\t")
        if len(columns) != 2:
            raise UserError(_no_pair(f"{block.path}:{block.first_line + number}", line, columns))
        pairs.append([column.strip() for column in columns])
    return Lines(pairs, len(lines.texts), blank, lines.invalid, lines.first_invalid)


def _no_pair(place: str, line: str, columns: list[str]) -> str:
    begin = line.strip()[:_CHARACTERS_SHOWN]
    what = f'{place}: "{begin}" is no pair; in data.layout: pairs a line is source<TAB>target, '
    if len(columns) > 2:
        return what + (
            f"and this one has {len(columns) - 1} TABs. Of several columns keep two, e.g. "
            "`cut -f1,2`; a TAB inside a text must become a space."
        )
    if "|||" in line:
        return what + "and this one has no TAB: put it where `|||` is (`sed 's/ *||| */\\t/'`)."
    return what + (
        "and this one has no TAB. Two files whose lines belong together become one by "
        "`paste SOURCE TARGET`; for single texts set data.layout: documents."
    )
