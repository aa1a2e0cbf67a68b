"""The layout `pairs`: each line is `source<TAB>target`."""

from __future__ import annotations

from ptm.errors import UserError
from ptm.text.corpus import Block, ParsedBlock, decode_lines

_CHARACTERS_SHOWN = 40


def parse_pairs(block: Block) -> ParsedBlock:
    """Parse the pairs of a block as documents of two sentences; either may be empty.

    Lines that are not UTF-8 are left out and counted. Raises UserError, naming file and line, if a
    line is not a pair.
    """
    lines = decode_lines(block.data)
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
            raise UserError(
                _not_a_pair_message(f"{block.path}:{block.first_line + number}", line, columns)
            )
        pairs.append([column.strip() for column in columns])
    return ParsedBlock(pairs, len(lines.texts), blank, lines.invalid, lines.first_invalid)


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
