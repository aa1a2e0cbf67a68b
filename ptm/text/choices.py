"""The layout `choices`: questions about a text, each with several choices, one of them right.

A document is the context, then the question with each of its choices: `question choice`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from ptm.text.corpus.blocks import Block, ParsedBlock
from ptm.text.corpus.choice_json import ChoiceError, record_entry
from ptm.text.corpus.records import Row

UNLABELLED = -1
"""The class index of a question without an answer."""


@dataclass(frozen=True)
class ChoiceQuestion:
    """A question: its place in the file, its choices, and the index of the right one."""

    place: str
    choices: tuple[str, ...]
    answer: int


def parse_choices(block: Block) -> ParsedBlock:
    """Parse a block of `ptm.text.corpus.choice_json`."""
    found = _Documents()
    lines = block.data.splitlines()
    for line in lines:
        place, *entry = json.loads(line)
        found.add(f"{block.path}: {place}" if place else block.path, *entry)
    return found.parsed(len(lines))


def choice_records(rows: Iterable[Row], block: Block) -> ParsedBlock:
    """Parse the records of a block of CSV, TSV, parquet or Arrow; `lines` of the result is 0.

    Damaged records, and those whose texts, choices or answer are unusable, are left out and
    counted.
    """
    assert block.records is not None, "a block of records"
    roles, fields = block.records.roles, block.records.fields
    declared = {role: name for role, name in zip(roles, fields, strict=True) if role != "choice"}
    found = _Documents()
    problems: dict[int, str] = {}
    blank = 0
    for index, values, problem in rows:
        if values is not None and not values:
            blank += 1
            continue
        try:
            if values is not None:
                record = dict(zip(fields, values, strict=True))
                found.add(block.place(index), *record_entry(record, declared))
        except ChoiceError as error:
            problem = f'the field "{error.key}": {error}' if error.key else str(error)
        if values is None or problem:
            problems[index] = problem
    first = min(problems, default=None)
    return found.parsed(
        0,
        blank=blank,
        invalid=len(problems),
        first_invalid=first,
        problem=problems[first] if first is not None else "",
    )


class _Documents:
    """The documents of a block."""

    def __init__(self) -> None:
        self._documents: list[list[str]] = []
        self._questions: list[ChoiceQuestion] = []

    def add(
        self, place: str, context: str, question: str, choices: list[str], answer: int | None
    ) -> None:
        of_choices = [f"{question} {choice}".strip() for choice in choices]
        self._documents.append([context, *of_choices])
        index = UNLABELLED if answer is None else answer
        self._questions.append(ChoiceQuestion(place, tuple(choices), index))

    def parsed(
        self,
        lines: int,
        *,
        blank: int = 0,
        invalid: int = 0,
        first_invalid: int | None = None,
        problem: str = "",
    ) -> ParsedBlock:
        return ParsedBlock(
            self._documents,
            lines,
            blank,
            invalid,
            first_invalid,
            [one.answer for one in self._questions],
            problem=problem,
            choices=self._questions,
        )
