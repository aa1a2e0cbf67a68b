"""The layout `choices`: questions about a text, each with several choices, one of them right.

A document is the context, then the question with each of its choices: `question choice`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ptm.errors import UserError
from ptm.text.corpus.blocks import Block, ParsedBlock
from ptm.text.corpus.choice_json import ChoiceError, Entry, line_entries
from ptm.text.corpus.json_lines import json_objects
from ptm.text.corpus.records import Row

UNLABELLED = -1
"""The class index of a question without an answer."""
_UNREADABLE = "the record cannot be read"


@dataclass(frozen=True)
class ChoiceQuestion:
    """A question: its place in the file, its choices, and the index of the right one.

    `problem`: what is wrong with its answer; or, without choices, with a record that is damaged. A
    blank record has neither choices nor a problem.
    """

    place: str
    choices: tuple[str, ...]
    answer: int
    problem: str = ""


def parse_choices(block: Block, *, to_predict: bool = False) -> ParsedBlock:
    """Parse a block of `ptm.text.corpus.choice_json`.

    `to_predict`: an answer that is none of the choices counts as none. Otherwise it raises
    UserError.
    """
    found = _Documents(to_predict)
    lines = block.data.splitlines()
    for line in lines:
        place, context, question, choices, answer, problem = json.loads(line)
        if problem and not to_predict:
            raise UserError(problem)
        entry = Entry(context, question, choices, answer)
        found.add(f"{block.path}: {place}" if place else block.path, entry, problem)
    return found.parsed(len(lines))


def choice_records(rows: Iterable[Row], block: Block, *, to_predict: bool = False) -> ParsedBlock:
    """Parse the records of a block of CSV, TSV, parquet or Arrow; `lines` of the result is 0.

    Damaged records, and those whose texts, choices or answer are unusable, are left out and
    counted. `to_predict`: each has a question without choices instead, blank records too, and an
    answer that is none of the choices counts as none.
    """
    assert block.records is not None, "a block of records"
    roles, fields = block.records.roles, block.records.fields
    declared = {role: name for role, name in zip(roles, fields, strict=True) if role != "choice"}
    found = _Documents(to_predict)
    for index, values, problem in rows:
        record = dict(zip(fields, values, strict=True)) if values else None
        blank = values is not None and not values
        found.read(block, index, record, "" if blank else problem or _UNREADABLE, declared)
    return found.parsed(0)


def choice_lines(block: Block, *, to_predict: bool = False) -> ParsedBlock:
    """Parse a block of JSON lines, as `choice_records`."""
    assert block.records is not None, "a block of records"
    declared = dict(zip(block.records.roles, block.records.fields, strict=True))
    found = _Documents(to_predict)
    for index, record, problem in json_objects(block):
        found.read(block, index, record, problem, declared)
    return found.parsed(0)


class _Documents:
    """The documents of a block."""

    def __init__(self, to_predict: bool) -> None:
        self._to_predict = to_predict
        self._documents: list[list[str]] = []
        self._questions: list[ChoiceQuestion] = []
        self._problems: dict[int, str] = {}
        self._blank = 0

    def read(
        self,
        block: Block,
        index: int,
        record: Mapping[str, Any] | None,
        problem: str,
        declared: Mapping[str, str],
    ) -> None:
        """Add the questions of a record. `problem`: why it has no question; "" for a blank one."""
        if record is not None:
            try:
                entries = list(self._entries(record, declared))
            except ChoiceError as error:
                problem = _sentence(error)
            else:
                for place, entry, wrong in entries:
                    where = block.place(index)
                    self.add(f"{where}: {place}" if place else where, entry, wrong)
                return
        if problem:
            self._problems[index] = problem
        else:
            self._blank += 1
        if self._to_predict:
            self._documents.append([""])
            self._questions.append(ChoiceQuestion(block.place(index), (), UNLABELLED, problem))

    def _entries(
        self, record: Mapping[str, Any], declared: Mapping[str, str]
    ) -> Iterator[tuple[str, Entry, str]]:
        for place, entry in line_entries(record, declared):
            if entry.wrong is not None and not self._to_predict:
                raise entry.wrong
            yield place, entry, "" if entry.wrong is None else _sentence(entry.wrong)

    def add(self, place: str, entry: Entry, problem: str = "") -> None:
        """Add a question. `problem`: what is wrong with its answer."""
        of_choices = [f"{entry.question} {choice}".strip() for choice in entry.choices]
        self._documents.append([entry.context, *of_choices])
        index = UNLABELLED if entry.answer is None else entry.answer
        self._questions.append(ChoiceQuestion(place, tuple(entry.choices), index, problem))

    def parsed(self, lines: int) -> ParsedBlock:
        first = min(self._problems, default=None)
        return ParsedBlock(
            self._documents,
            lines,
            self._blank,
            len(self._problems),
            first,
            [one.answer for one in self._questions],
            problem=self._problems[first] if first is not None else "",
            choices=self._questions,
        )


def _sentence(error: ChoiceError) -> str:
    return f'the field "{error.key}": {error}' if error.key else f"the record {error}"
