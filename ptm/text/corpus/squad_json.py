"""SQuAD's JSON and its relatives, which are one JSON value per file: cut into blocks of paragraphs.

- SQuAD 1.1 and 2.0, CMRC 2018, DRCD: `{"data": [{"paragraphs": [{"context", "qas": [{"id",
  "question", "answers": [{"text", "answer_start"}]}]}]}]}`.
- CMRC 2018's first format: `[{"context_text", "qas": [{"query_id", "query_text", "answers":
  ["text"]}]}]`.
- Records in a list or below "data": `{"id", "context", "question", "answers"}`.

The data of a block has one paragraph per line, as JSON: `[key path, context, questions]`. A
question is `[key path, id, question, answers]`, in which answers are `[text, start]` pairs; start
is null if the file has none, and answers are null for a question without labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ptm.errors import UserError
from ptm.limits import LONGEST_LINE
from ptm.text.corpus.blocks import Block
from ptm.text.corpus.files import CorpusFile, Format
from ptm.text.corpus.json_documents import are_json_lines
from ptm.text.corpus.json_lines import objects_in
from ptm.text.corpus.json_values import entry_blocks, json_value
from ptm.text.corpus.other_formats import first_lines
from ptm.text.corpus.records import kind_of, unusable_text

_FORM = (
    'SQuAD\'s JSON is {"data": [{"paragraphs": [{"context": …, "qas": [{"id": …, "question": …, '
    '"answers": [{"text": …, "answer_start": …}]}]}]}]}.'
)
_LINES = 20
"""Lines from which JSON lines are recognised."""


_FORMATS = "Questions are read from JSON, JSON lines, parquet or Arrow."


def questions_format(begin: bytes) -> Format:
    """The format of text with layout `questions`; `begin`: its first bytes as UTF-8.

    `json_lines` if most of its first lines are objects with a question, else `squad`.
    """
    lines = first_lines(begin, _LINES)
    if not are_json_lines(lines, share=0.5):
        return "squad"
    record = next(one for line in lines for one in objects_in([line]) or [])
    return "json_lines" if "data" not in record and "paragraphs" not in record else "squad"


def squad_blocks(
    file: CorpusFile, *, index: int, bytes_of: Callable[[int], int]
) -> Iterator[Block]:
    """Yield the blocks of a file, of about `bytes_of(number)` bytes each.

    The whole file is in memory meanwhile. Raises UserError, with the path of the key, if it is not
    JSON of one of the forms, a context is empty, or a text is not usable.
    """
    tree, read = json_value(file, formats=_FORMATS)
    yield from entry_blocks(
        file,
        _Tree(file.path).paragraphs(tree),
        name="squad",
        noun="paragraph with its questions",
        read=read,
        index=index,
        bytes_of=bytes_of,
    )


Paragraph = tuple[str, str, list[list[Any]]]


class _Tree:
    """Walks the parsed JSON of one file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def paragraphs(self, tree: Any) -> Iterator[Paragraph]:
        """The paragraphs; records that follow each other and have equal contexts become one."""
        merged: Paragraph | None = None
        for place, one in self._items(tree):
            if "context" in one and "question" in one and "qas" not in one:
                where, context, questions = self._record(one, place)
                if merged is not None and merged[1] == context:
                    merged[2].extend(questions)
                    continue
                if merged is not None:
                    yield merged
                merged = (where, context, questions)
                continue
            if merged is not None:
                yield merged
                merged = None
            yield self._paragraph(one, place)
        if merged is not None:
            yield merged

    def _items(self, tree: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects that have a context, with their key paths."""
        articles, place = tree, ""
        if isinstance(tree, dict):
            place = "data"
            articles = self._value(tree, "data", "", list, "a list")
        elif not isinstance(tree, list):
            raise self._error("", f"the file is {kind_of(tree)}, not an object. {_FORM}")
        for number, article in enumerate(articles):
            where = f"{place}[{number}]"
            if not isinstance(article, dict):
                raise self._error(where, f"is {kind_of(article)}, not an object. {_FORM}")
            if "context" in article or "context_text" in article:
                yield where, article
                continue
            some = self._value(article, "paragraphs", where, list, "a list")
            for position, paragraph in enumerate(some):
                inner = f"{where}.paragraphs[{position}]"
                if not isinstance(paragraph, dict):
                    raise self._error(inner, f"is {kind_of(paragraph)}, not an object. {_FORM}")
                yield inner, paragraph

    def _record(self, one: dict[str, Any], place: str) -> Paragraph:
        context = self._text(one, "context", place)
        return place, context, [self._question(one, place, id="id", text="question")]

    def _paragraph(self, one: dict[str, Any], place: str) -> Paragraph:
        first_format = "context_text" in one and "context" not in one
        context = self._text(one, "context_text" if first_format else "context", place)
        found = []
        for number, entry in enumerate(self._value(one, "qas", place, list, "a list")):
            where = f"{place}.qas[{number}]"
            if not isinstance(entry, dict):
                raise self._error(where, f"is {kind_of(entry)}, not an object. {_FORM}")
            names = ("query_id", "query_text") if "query_text" in entry else ("id", "question")
            found.append(self._question(entry, where, id=names[0], text=names[1]))
        return place, context, found

    def _question(self, one: dict[str, Any], place: str, *, id: str, text: str) -> list[Any]:
        name = self._value(one, id, place, (str, int), "a text")
        question = self._text(one, text, place)
        try:
            answers = answers_of(one.get("answers"))
        except ValueError as error:
            raise self._error(f"{place}.answers", f"{error}. {_FORM}") from error
        return [place, str(name), question, answers]

    def _text(self, one: dict[str, Any], key: str, place: str) -> str:
        text: str = self._value(one, key, place, str, "a text")
        problem = unusable_text(text, key)
        # A question without text, as in the trial set of CMRC 2018, is left out later.
        if not text.strip() and key.startswith("context"):
            problem = "the text is empty"
        elif len(text) > LONGEST_LINE // 4 and len(text.encode()) > LONGEST_LINE:
            problem = f"the text is longer than {LONGEST_LINE // 2**20} MB"
        if problem:
            raise self._error(
                f"{place}.{key}", f"{problem}. Correct it, or remove the paragraph or question."
            )
        return text

    def _value(
        self, one: dict[str, Any], key: str, place: str, kind: type | tuple[type, ...], what: str
    ) -> Any:
        inner = f"{place}.{key}".removeprefix(".")
        if key not in one:
            keys = ", ".join(map(str, one)) or "none"
            raise self._error(inner, f"is missing (keys: {keys[:200]}). {_FORM}")
        value = one[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self._error(inner, f"is {kind_of(value)}, not {what}. {_FORM}")
        return value

    def _error(self, place: str, problem: str) -> UserError:
        return UserError(f"{self._path}: {place}{': ' if place else ''}{problem}")


def answers_of(value: Any) -> list[list[Any]] | None:
    """The answers of a question as [text, start] pairs; None if it has no labels.

    `value`: a list of objects {text, answer_start} or of texts, or an object of two lists, {text,
    answer_start}. An empty list is a question that cannot be answered. Raises ValueError, with
    what is wrong, if it is none of these.
    """
    if value is None:
        return None
    if isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list):
            raise ValueError("an object of answers needs the lists text and answer_start")
        if len(texts) != len(starts):
            raise ValueError(f"has {len(texts)} texts, but {len(starts)} values of answer_start")
        pairs = list(zip(texts, starts, strict=True))
    elif isinstance(value, list):
        pairs = [
            (one.get("text"), one.get("answer_start")) if isinstance(one, dict) else (one, None)
            for one in value
        ]
    else:
        raise ValueError(f"is {kind_of(value)}, not a list")
    # CMRC 2018's first format has answers such as 1985, which JSON reads as numbers.
    pairs = [(str(text) if _is_number(text) else text, start) for text, start in pairs]
    for text, start in pairs:
        if not isinstance(text, str):
            raise ValueError(f"an answer is {kind_of(text)}, not a text")
        if start is not None and (not isinstance(start, int) or isinstance(start, bool)):
            raise ValueError(f"answer_start is {kind_of(start)}, not a whole number")
        if problem := unusable_text(text, "text"):
            raise ValueError(problem)
    return [[text, start] for text, start in pairs]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
