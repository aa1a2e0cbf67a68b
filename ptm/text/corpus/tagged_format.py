"""Recognises how a file of tagged words is written: a word per line, or a sentence per line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ptm.text.corpus.files import Format
from ptm.text.corpus.json_lines import objects_in
from ptm.text.corpus.other_formats import first_lines

TAGGED_FIELDS: Mapping[str, tuple[str, ...]] = {
    "tokens": ("tokens", "words", "text_a", "text"),
    "tags": ("tags", "ner_tags", "labels", "label"),
}
"""Role -> names that its field may have without being declared."""
_LINES = 20


def tagged_format(begin: bytes) -> Format:
    """The format of TAB-separated or plain text with layout `tagged`; `begin`: its first bytes.

    `tsv`: the first line names the columns. `text`: each line is a sentence, words<TAB>tags.
    `conll`: each line is a word and its tag.
    """
    lines = first_lines(begin, _LINES)
    if objects_in(lines[:1]) is not None:
        # JSON lines, whose fields the recipe does not name: an error of plain text.
        return "text"
    rows = [line.rstrip("\r").split("\t") for line in lines]
    if rows and _is_header(rows):
        return "tsv"
    # In a file with one word per line, no tag has spaces.
    return "text" if any(words == tags > 1 for words, tags in map(_counts, rows)) else "conll"


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns of rows that are sentences."""
    names = [cell.strip() for cell in rows[0]]
    columns = [next((n for n in known if n in names), "") for known in TAGGED_FIELDS.values()]
    if not all(columns) or any(len(row) != len(names) for row in rows):
        return False
    # A column of single words has one word per line.
    words = names.index(columns[0])
    return any(len(split_words(row[words])) > 1 for row in rows[1:])


def _counts(row: Sequence[str]) -> tuple[int, int]:
    """The numbers of words and of tags of a line with two columns; zeros for another line."""
    if len(row) != 2:
        return 0, 0
    words, tags = (len(split_words(cell)) for cell in row)
    return words, tags


def split_words(text: str) -> list[str]:
    """The words of a text that are separated by spaces. Other white space belongs to words."""
    return [word for word in text.split(" ") if word]
