"""The layout `questions`: paragraphs with questions whose answers are spans of the paragraph.

Rajpurkar et al. 2016 (SQuAD). A document is a context and its questions. A record of JSON lines,
parquet or Arrow is one question with its context; records that follow each other and have equal
contexts are one document.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from ptm.limits import LONGEST_LINE
from ptm.text.corpus.blocks import Block, ParsedBlock
from ptm.text.corpus.records import Row, kind_of, long_text, unusable_text
from ptm.text.corpus.squad_json import answers_of


@dataclass(frozen=True)
class Answer:
    """The text of an answer, and the index of its first character that the file states."""

    text: str
    start: int | None


@dataclass(frozen=True)
class Question:
    """A question beside its text. `place`: file and key path, or line, for messages."""

    place: str
    id: str
    answers: tuple[Answer, ...] | None
    """None without labels; empty if the context has no answer."""
    problem: str | None = None
    """Of a record without a question: what is wrong with it, "" for a blank one."""


@dataclass(frozen=True)
class Located:
    """An answer in its context: characters [start, end)."""

    start: int
    end: int
    moved: bool
    """Whether the file states another start, or none."""


def located(context: str, answers: Iterable[Answer]) -> Located | None:
    """The first of the answers that is in the context; None if none is.

    An answer that is not where the file says is searched for: the occurrence nearest to the stated
    start counts. White space around an answer is left out.
    """
    for answer in answers:
        text = answer.text.strip()
        if not text:
            continue
        start = answer.start
        stated = -1 if start is None else start + len(answer.text) - len(answer.text.lstrip())
        if stated >= 0 and context.startswith(text, stated):
            return Located(stated, stated + len(text), moved=False)
        found = _nearest(context, text, max(stated, 0))
        if found >= 0:
            return Located(found, found + len(text), moved=start is not None)
    return None


def _nearest(context: str, text: str, at: int) -> int:
    """Where the occurrence of `text` nearest to `at` begins; -1 if absent."""
    after = context.find(text, at)
    before = context.rfind(text, 0, at + len(text) - 1) if at else -1
    if after < 0 or before < 0:
        return max(after, before)
    return after if after - at < at - before else before


def parse_squad(block: Block) -> ParsedBlock:
    """Parse a block of `ptm.text.corpus.squad_json`."""
    documents: list[list[str]] = []
    questions: list[list[Question]] = []
    lines = block.data.splitlines()
    for line in lines:
        _, context, entries = json.loads(line)
        if not entries:
            continue
        documents.append([context, *(text for _, _, text, _ in entries)])
        questions.append(
            [
                Question(f"{block.path}: {place}", name, _answers(answers))
                for place, name, _, answers in entries
            ]
        )
    return ParsedBlock(
        documents, len(lines), len(lines) - len(documents), 0, None, questions=questions
    )


def question_records(
    rows: Iterable[Row], block: Block, roles: tuple[str, ...], *, to_predict: bool = False
) -> ParsedBlock:
    """Parse the records of a block; `lines` of the result is 0.

    `roles`: those of the fields of a record. Damaged records, and those without a usable text, are
    left out and counted. `to_predict`: each is a question without text instead, and blank records
    are, too. Raises UserError if a text is too long.
    """
    documents: list[list[str]] = []
    questions: list[list[Question]] = []
    problems: dict[int, str] = {}
    blank = 0
    for index, values, problem in rows:
        record = dict(zip(roles, values, strict=True)) if values else {}
        if values is None:
            problem = problem or "the record cannot be read"
        elif values:
            problem = problem or _problem_of(record)
        if problem:
            problems[index] = problem
        blank += not problem and not record
        if problem or not record:
            if to_predict:
                name = record.get("id")
                name = str(name) if type(name) in (str, int) else ""
                documents.append(["", ""])
                questions.append([Question(block.place(index), name, None, problem)])
            continue
        context, text = record["context"], record["question"]
        if max(len(context), len(text)) > LONGEST_LINE // 4:
            raise long_text(block.place(index))
        place = block.place(index)
        question = Question(place, str(record["id"]), _answers(answers_of(record.get("answers"))))
        if documents and documents[-1][0] == context:
            documents[-1].append(text)
            questions[-1].append(question)
        else:
            documents.append([context, text])
            questions.append([question])
    first = min(problems, default=None)
    return ParsedBlock(
        documents,
        0,
        blank,
        len(problems),
        first,
        problem=problems[first] if first is not None else "",
        questions=questions,
    )


def _problem_of(record: dict[str, object]) -> str:
    """What is wrong with the values of a record; "" if nothing is."""
    name = record["id"]
    if not isinstance(name, (str, int)) or isinstance(name, bool):
        return f'the field "id" is {kind_of(name)}, not a text'
    for role in ("context", "question"):
        text = record[role]
        if not isinstance(text, str):
            return f'the field "{role}" is {kind_of(text)}, not a text'
        if problem := unusable_text(text, role):
            return problem
        if not text.strip():
            return f'the field "{role}" is empty'
    try:
        answers_of(record.get("answers"))
    except ValueError as error:
        return f'the field "answers": {error}'
    return ""


def _answers(pairs: list[list[object]] | None) -> tuple[Answer, ...] | None:
    if pairs is None:
        return None
    return tuple(Answer(str(text), None if at is None else int(str(at))) for text, at in pairs)
