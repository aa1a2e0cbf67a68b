"""Sentences to tag, read from files: their words, or plain text that is split into words.

- `conll`: a line is a word, or a word and its tag. An empty line ends a sentence.
- Plain text: a line is a text, or `words<TAB>tags` with spaces between words and between tags.
- Records: a text, or a list of words; with tags in a second field, a text has spaces between words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ptm.errors import UserError
from ptm.inference.predict.base import InputFiles, Window
from ptm.inference.predict.input_files import InputLayout, input_windows
from ptm.recipe.corpus_block import ReadingBlock
from ptm.text.corpus import Block, CorpusFile, decode_lines
from ptm.text.corpus.encodings import TextStream
from ptm.text.corpus.other_formats import first_lines
from ptm.text.corpus.parse import record_rows
from ptm.text.corpus.records import kind_of
from ptm.text.corpus.streams import open_stream
from ptm.text.corpus.tagged_format import TAGGED_FIELDS, split_words
from ptm.text.plain_words import Span, WordRule, joined_words, word_spans
from ptm.text.tagged_sentences import DOCSTART, word_cells
from ptm.text.tags import TagSet

_BEGIN, _LINES = 2**16, 20
"""Bytes and lines of a file from which its form is recognised."""
_NAMES = frozenset(TAGGED_FIELDS["tokens"])


@dataclass(frozen=True)
class InputSentence:
    """The words of a text, and the text."""

    place: str
    """File and line, for messages."""
    text: str
    spans: tuple[Span, ...]
    """Where each word is in the text; empty if the line is blank or damaged."""
    tags: tuple[str | int, ...] | None = None
    """The tag of each word as the file has it; None without tags."""
    words_given: bool = False
    """Whether the file has words, of which `text` is made."""
    problem: str = ""
    """What is wrong with a damaged line; "" for a sentence or a blank line."""

    @property
    def words(self) -> list[str]:
        """The words, in order."""
        return [self.text[begin:end] for begin, end in self.spans]

    @property
    def characters(self) -> int:
        """Characters of the text."""
        return len(self.text)

    def with_place(self, place: str) -> InputSentence:
        """The same sentence at another place."""
        return replace(self, place=place)


@dataclass(frozen=True)
class SentenceReader:
    """Reads sentences. `rule`: how plain text is split into words."""

    tags: TagSet
    rule: WordRule

    def windows(
        self, files: InputFiles, reading: ReadingBlock | None, *, window: int
    ) -> Iterator[Window[InputSentence]]:
        """Yield the sentences of all files in order, at most `window` at a time.

        `reading`: how the recipe reads its corpus. Raises UserError if a file cannot be read, or a
        line of `words<TAB>tags` has other columns.
        """
        how = InputLayout[InputSentence]("tagged", {"tags"}, self._inputs, self._corrected)
        return input_windows(_as_tagged(files), reading, how, window=window)

    def _corrected(self, file: CorpusFile) -> CorpusFile:
        """Words with tags only if the first lines have tags of the model; else plain text."""
        if file.format != "conll" or self._are_conll(_beginning(file)):
            return file
        return replace(file, format="text")

    def _are_conll(self, lines: Sequence[str]) -> bool:
        words = [word_cells(line) for line in lines if not line.startswith(DOCSTART)]
        return bool(words) and all(len(one) > 1 and self._is_tag(one[-1]) for one in words)

    def _is_tag(self, value: str | int) -> bool:
        try:
            self.tags.tag_index(value)
        except UserError:
            return False
        return True

    def _inputs(self, block: Block, file: CorpusFile) -> Iterator[InputSentence]:
        if block.records is None:
            return self._lines(block)
        if block.records.format == "conll":
            return self._conll(block)
        return self._records(block, file)

    def _lines(self, block: Block) -> Iterator[InputSentence]:
        lines = decode_lines(block.data)
        for index, line in enumerate(lines.texts):
            place = block.place(index)
            if line is None:
                problem = lines.problem or "the line is not valid UTF-8"
                yield InputSentence(place, "", (), problem=problem)
                continue
            text = line.rstrip("\r")
            if block.first_line + index == 1 and text.strip() in _NAMES:
                # The header of a file with one column.
                continue
            cells = [split_words(cell) for cell in text.split("\t")]
            if len(cells) == 2 and len(cells[0]) == len(cells[1]) and self._are_tags(cells[1]):
                yield self._given(place, cells[0], tuple(cells[1]))
            else:
                yield self._plain(place, text)

    def _are_tags(self, words: Sequence[str]) -> bool:
        return bool(words) and all(map(self._is_tag, words))

    def _conll(self, block: Block) -> Iterator[InputSentence]:
        lines = decode_lines(block.data)
        rows: list[list[str]] = []
        begin, problem = 0, ""
        for index, line in enumerate([*lines.texts, ""]):
            if line is None:
                problem = lines.problem or "a line of the sentence is not valid UTF-8"
            elif line.strip() and not line.startswith(DOCSTART):
                begin = begin if rows else index
                rows.append([cell for cell in word_cells(line) if cell])
            elif rows or problem:
                yield self._sentence(block.place(begin), rows, problem)
                rows, problem = [], ""

    def _sentence(self, place: str, rows: list[list[str]], problem: str) -> InputSentence:
        if problem:
            return InputSentence(place, "", (), problem=problem)
        tags = tuple(row[-1] for row in rows) if all(len(row) > 1 for row in rows) else None
        return self._given(place, [row[0] for row in rows], tags)

    def _records(self, block: Block, file: CorpusFile) -> Iterator[InputSentence]:
        assert block.records is not None, "the format of records is known"
        for index, values, problem in record_rows(block, block.records):
            place = block.place(index)
            if values is None:
                wrong = problem or "the line cannot be decoded"
                yield InputSentence(place, "", (), problem=wrong)
            elif not values:
                yield InputSentence(place, "", ())
            else:
                yield self._record(place, dict(zip(file.roles, values, strict=True)))

    def _record(self, place: str, values: Mapping[str, Any]) -> InputSentence:
        given, tags = values["tokens"], values.get("tags")
        tags = split_words(tags) if isinstance(tags, str) else tags
        words = split_words(given) if isinstance(given, str) else given
        if not isinstance(words, list) or not all(type(word) is str for word in words):
            wrong = f"the words are {kind_of(given)}, not a text or a list of texts"
            return InputSentence(place, "", (), problem=wrong)
        if tags is None:
            return self._plain(place, given) if given is not words else self._given(place, words)
        if not isinstance(tags, list) or not all(type(one) in (str, int) for one in tags):
            wrong = f"the tags are {kind_of(tags)}, not a text or a list of tags"
            return InputSentence(place, "", (), problem=wrong)
        if len(words) != len(tags):
            wrong = f"the sentence has {len(words)} words, but {len(tags)} tags"
            return InputSentence(place, "", (), problem=wrong)
        return self._given(place, words, tuple(tags))

    def _plain(self, place: str, text: str) -> InputSentence:
        return InputSentence(place, text, tuple(word_spans(text, self.rule)))

    def _given(
        self, place: str, words: list[str], tags: tuple[str | int, ...] | None = None
    ) -> InputSentence:
        if not all(words):
            return InputSentence(place, "", (), problem="a word of the sentence is empty")
        text, spans = joined_words(words, self.rule)
        return InputSentence(place, text, tuple(spans), tags, words_given=True)


def _as_tagged(files: InputFiles) -> InputFiles:
    """The fields that options name, by the roles of the layout `tagged`."""
    roles = {"text": "tokens", "label": "tags"}
    return replace(files, fields={roles[role]: name for role, name in files.fields.items()})


def _beginning(file: CorpusFile) -> list[str]:
    """The first lines of a text file that are not blank."""
    with open_stream(file) as stream:
        return first_lines(TextStream(stream, file).read(_BEGIN), _LINES)
