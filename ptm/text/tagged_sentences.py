"""The layout `tagged`: sentences of words with one tag per word, in every format.

- `conll`: a line is a word and its tag, with a TAB or spaces between them; further columns between
  the first and the last are ignored. An empty line ends a sentence, as does a line of -DOCSTART-.
- Plain text: a line is a sentence, `words<TAB>tags`, with spaces between words and between tags.
- Records: two fields, each a list, or a text with spaces. Tags may be the numbers of the tags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ptm.arrays import exclusive_cumsum
from ptm.errors import UserError
from ptm.limits import LONGEST_LINE
from ptm.text.corpus import Block, ParsedBlock, decode_lines
from ptm.text.corpus.records import Row, kind_of, long_text, unusable_text
from ptm.text.corpus.tagged_format import split_words
from ptm.text.tags import TagSet

DOCSTART = "-DOCSTART-"
_CHARACTERS_SHOWN = 40
_HEADER_HINT = (
    " If the line is a header, remove it; that of a file with one sentence per line may name the "
    "columns tokens and tags."
)


@dataclass(frozen=True)
class _Sentence:
    """A sentence: its words, its tags as the corpus has them, and the index of its first line."""

    line: int
    words: list[str]
    tags: list[Any]


def parse_tagged(block: Block, tags: TagSet) -> ParsedBlock:
    """Parse the lines of a block of plain text or of format `conll`.

    Lines that are not UTF-8, or that contain a NUL byte, are counted and left out, with their
    sentence. Raises UserError, naming file and line, if a word has no tag, a sentence has other
    numbers of words and tags, a word is empty or a tag is unknown.
    """
    lines = decode_lines(block.data)
    by_word = block.records is not None
    read = _sentences_of_words if by_word else _sentences_of_lines
    found = _parsed(
        read(lines.texts, block.place),
        tags,
        block.place,
        line_per_word=by_word,
        begins_file=block.first_line == 1,
    )
    return ParsedBlock(
        documents=found.documents,
        lines=len(lines.texts),
        blank=sum(1 for line in lines.texts if line is not None and not line.strip()),
        invalid=lines.invalid,
        first_invalid=lines.first_invalid,
        labels=found.labels,
        problem=lines.problem,
        repaired=found.repaired,
        first_repaired=found.first_repaired,
    )


def tagged_records(
    rows: Iterable[Row], tags: TagSet, *, fields: tuple[str, ...], place: Callable[[int], str]
) -> ParsedBlock:
    """Parse the records of a block; `lines` of the result is 0.

    Damaged records, and those whose fields are no lists of words and of tags, are left out and
    counted. Raises UserError as `parse_tagged` does.
    """
    problems: dict[int, str] = {}
    blank = 0
    sentences: list[_Sentence] = []
    for index, values, problem in rows:
        if values:
            words, of_words = (split_words(v) if isinstance(v, str) else v for v in values)
            problem = _problem_of(words, of_words, fields)
        if values is None or problem:
            problems[index] = problem
        elif not values or not (words or of_words):
            blank += 1
        else:
            _check_counts(words, of_words, place(index))
            if sum(map(len, words)) > LONGEST_LINE // 4:
                raise long_text(place(index))
            sentences.append(_Sentence(index, words, of_words))
    found = _parsed(sentences, tags, place, line_per_word=False)
    first = min(problems, default=None)
    return ParsedBlock(
        documents=found.documents,
        lines=0,
        blank=blank,
        invalid=len(problems),
        first_invalid=first,
        labels=found.labels,
        problem=problems[first] if first is not None else "",
        repaired=found.repaired,
        first_repaired=found.first_repaired,
    )


def _problem_of(words: Any, tags: Any, fields: tuple[str, ...]) -> str:
    """What is wrong with the values of a record's fields; "" if nothing is."""
    for values, name in zip((words, tags), fields, strict=True):
        if not isinstance(values, list):
            return f'the field "{name}" is {kind_of(values)}, not a list or a text'
    for word in words:
        if type(word) is not str:
            return f'the field "{fields[0]}" has {kind_of(word)} in its list, not only words'
    for tag in tags:
        if type(tag) not in (str, int):
            return f'the field "{fields[1]}" has {kind_of(tag)} in its list, not only tags'
    return unusable_text("".join(words), fields[0])


def _sentences_of_words(
    lines: Iterable[str | None], place: Callable[[int], str]
) -> Iterator[_Sentence]:
    """The sentences of lines that are a word and its tag."""
    current = _Sentence(0, [], [])
    damaged = False
    for index, line in enumerate(lines):
        if line is None:
            damaged = True
            continue
        if line.strip() and not line.startswith(DOCSTART):
            if not current.words:
                current = _Sentence(index, [], [])
            cells = word_cells(line)
            if len(cells) < 2 or not cells[-1].strip():
                raise _no_tag(place(index), line)
            word, tag = cells[0], cells[-1]
            current.words.append(word)
            current.tags.append(tag)
            continue
        if current.words and not damaged:
            yield current
        current, damaged = _Sentence(index, [], []), False
    if current.words and not damaged:
        yield current


def word_cells(line: str) -> list[str]:
    """The cells of a line of format `conll`, which TABs or else spaces separate."""
    line = line.rstrip("\r")
    return line.split("\t") if "\t" in line else split_words(line)


def _no_tag(place: str, line: str) -> UserError:
    return UserError(
        f'{place}: "{line.strip()[:_CHARACTERS_SHOWN]}" has no tag. With data.layout: tagged and '
        "one word per line, a line is a word, a TAB or spaces, and its tag; an empty line ends a "
        "sentence."
    )


def _sentences_of_lines(
    lines: Iterable[str | None], place: Callable[[int], str]
) -> Iterator[_Sentence]:
    """The sentences of lines that are `words<TAB>tags`."""
    for index, line in enumerate(lines):
        if line is None or not line.strip():
            continue
        cells = line.rstrip("\r").split("\t")
        if len(cells) != 2:
            raise UserError(
                f'{place(index)}: "{line.strip()[:_CHARACTERS_SHOWN]}" has {len(cells)} columns. '
                "With data.layout: tagged and one sentence per line, a line is words<TAB>tags, "
                "with spaces between words and between tags. A file with other columns needs a "
                "header that names them, and data.fields: {tokens: NAME, tags: NAME}."
            )
        words, tags = map(split_words, cells)
        _check_counts(words, tags, place(index))
        yield _Sentence(index, words, tags)


def _check_counts(words: list[str], tags: list[Any], place: str) -> None:
    if len(words) != len(tags):
        raise UserError(
            f"{place}: the sentence has {len(words)} words, but {len(tags)} tags. Give each word "
            "one tag."
        )


@dataclass(frozen=True)
class _Parsed:
    """Sentences with class indexes as tags."""

    documents: list[list[str]]
    labels: list[int]
    repaired: int
    first_repaired: int | None


def _parsed(
    sentences: Iterable[_Sentence],
    tags: TagSet,
    place: Callable[[int], str],
    *,
    line_per_word: bool,
    begins_file: bool = False,
) -> _Parsed:
    """Find the class index of each tag, and repair tags that break the rules of their scheme.

    `begins_file`: whether line 0 may be a header.
    """
    documents: list[list[str]] = []
    indexes: list[int] = []
    lines: list[int] = []
    for sentence in sentences:
        for number, (word, tag) in enumerate(zip(sentence.words, sentence.tags, strict=True)):
            line = sentence.line + number * line_per_word
            if not word:
                raise UserError(
                    f"{place(line)}: word {number + 1} of the sentence is empty. Write the word, "
                    "or remove it and its tag."
                )
            try:
                indexes.append(tags.tag_index(tag))
            except UserError as error:
                hint = _HEADER_HINT if begins_file and line == 0 else ""
                raise UserError(f"{place(line)}: {error}{hint}") from error
            lines.append(line)
        documents.append(sentence.words)
    given = np.array(indexes, dtype=np.int64)
    begins = np.zeros(given.size, dtype=bool)
    begins[exclusive_cumsum(np.array([len(words) for words in documents], dtype=np.int64))] = True
    repaired = tags.repaired(given, begins)
    changed = np.flatnonzero(repaired != given)
    lacking = np.flatnonzero(repaired < 0)
    if lacking.size:
        at = int(lacking[0])
        raise UserError(
            f'{place(lines[at])}: the tag {tags.names[given[at]]} of "{_word(documents, at)}" '
            f"breaks the rules of objective.scheme = {tags.scheme}, and the tag that would follow "
            f"them is not declared. Correct the tag, or declare all tags of its type."
        )
    first = lines[int(changed[0])] if changed.size else None
    return _Parsed(documents, repaired.tolist(), int(changed.size), first)


def _word(documents: list[list[str]], at: int) -> str:
    words = [word for document in documents for word in document]
    return words[at][:_CHARACTERS_SHOWN]
