"""The layouts `pairs`, `source<TAB>target`, and `triplets`, `anchor<TAB>positive<TAB>negative`.

A header that names the columns is optional, and lets a file have more columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ptm.errors import UserError
from ptm.text.corpus import Block, FirstLine, ParsedBlock, decode_lines

_CHARACTERS_SHOWN = 40
_PAIRS = (("source", "target"), ("src", "tgt"), ("anchor", "positive"))
"""Names of the two columns of pairs in a header."""
_TRIPLETS = ("anchor", "positive", "negative")
"""Names of the columns of triplets in a header; those of further negatives begin with the last."""


@dataclass(frozen=True)
class _Columns:
    """How many columns the lines of a file have, and which of them are the texts."""

    count: int
    texts: tuple[int, ...]
    header: int | None = None
    """Line number of the header; None without one."""


def _names(opening: FirstLine | None) -> list[str]:
    return [cell.strip().lower() for cell in opening.text.split("\t")] if opening else []


def _columns_of_pairs(opening: FirstLine | None) -> _Columns:
    """The columns of the file whose first line is `opening`."""
    names = _names(opening)
    for needed in _PAIRS:
        if opening is not None and all(names.count(name) == 1 for name in needed):
            return _Columns(len(names), tuple(map(names.index, needed)), header=opening.number)
    return _Columns(2, (0, 1))


def _columns_of_triplets(opening: FirstLine | None) -> _Columns:
    """The columns of the file whose first line is `opening`; its first line says how many."""
    names = _names(opening)
    anchor, positive, negative = _TRIPLETS
    negatives = [at for at, name in enumerate(names) if name.startswith(negative)]
    if opening is not None and negatives and names.count(anchor) == names.count(positive) == 1:
        texts = (names.index(anchor), names.index(positive), *negatives)
        return _Columns(len(names), texts, header=opening.number)
    count = max(len(_TRIPLETS), len(names))
    return _Columns(count, tuple(range(count)))


def parse_pairs(block: Block) -> ParsedBlock:
    """Parse the pairs of a block as documents of two sentences; either may be empty.

    Lines that are not UTF-8, or that contain a NUL byte, are left out and counted. Raises
    UserError, naming file and line, if a line is not a pair.
    """
    return _parsed(block, _columns_of_pairs(block.opening), _not_a_pair_message)


def parse_triplets(block: Block) -> ParsedBlock:
    """Parse the lines of a block as documents of an anchor, a positive and one or more negatives.

    Lines that are not UTF-8, or that contain a NUL byte, are left out and counted. Raises
    UserError, naming file and line, if a line has other columns than the file's first one, or an
    empty text.
    """
    columns = _columns_of_triplets(block.opening)
    return _parsed(block, columns, _not_a_triplet_message, empty=False)


def _parsed(
    block: Block,
    columns: _Columns,
    other_columns: Callable[[str, str, list[str], int], str],
    *,
    empty: bool = True,
) -> ParsedBlock:
    """The texts of each line. `empty`: whether a text may be empty.

    `other_columns`: the message for a line without a header that has other columns.
    """
    lines = decode_lines(block.data)
    documents: list[list[str]] = []
    blank = 0
    for number, line in enumerate(lines.texts, start=block.first_line):
        if line is None or number == columns.header:
            continue
        if not line.strip():
            blank += 1
            continue
        cells = line.split("\t")
        place = f"{block.path}:{number}"
        if len(cells) != columns.count:
            if columns.header is not None:
                raise UserError(
                    f"{place}: the line has {len(cells)} columns, but the header has "
                    f"{columns.count}. Replace a TAB inside a text by a space."
                )
            raise UserError(other_columns(place, line, cells, columns.count))
        texts = [cells[at].strip() for at in columns.texts]
        if not empty and not all(texts):
            what = _TRIPLETS[min(texts.index(""), 2)]
            raise UserError(f"{place}: the {what} is empty. Write a text, or remove the line.")
        documents.append(texts)
    return ParsedBlock(
        documents,
        len(lines.texts),
        blank,
        lines.invalid,
        lines.first_invalid,
        problem=lines.problem,
    )


def _not_a_pair_message(place: str, line: str, columns: list[str], expected: int) -> str:
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


def _not_a_triplet_message(place: str, line: str, columns: list[str], expected: int) -> str:
    begin = line.strip()[:_CHARACTERS_SHOWN]
    return (
        f'{place}: "{begin}" has {len(columns)} columns, but {expected} are expected. With '
        "data.layout: triplets each line is anchor<TAB>positive<TAB>negative, with as many "
        "negatives as in the first line. Without negatives, set data.layout: pairs."
    )
