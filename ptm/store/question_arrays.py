"""Turns paragraphs with questions into the arrays of a shard.

A document is the tokens of a context and then those of each question. Beside them, every token has
its characters, every question the tokens of its answer, and every document a record with the text:
evaluations read answers as characters of the original context.

Shape letters: T tokens, S sentences (contexts and questions), D documents, Q questions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum
from ptm.errors import UserError
from ptm.store.sections import in_smallest_type
from ptm.store.texts import CharacterSpans
from ptm.text.questions import Question, located

NO_ANSWER, NOT_LOCATED = -1, -2
"""In place of the tokens of an answer: the context has none; no given answer is in it."""
_SHOWN = 3


@dataclass(frozen=True)
class QuestionCounts:
    """What was found about the answers of some paragraphs."""

    questions: int = 0
    unanswerable: int = 0
    """Questions whose context has no answer."""
    moved: int = 0
    """Questions whose answer is not where the file says, but elsewhere in the context."""
    not_located: int = 0
    """Questions none of whose answers is in the context."""
    inside_tokens: int = 0
    """Questions whose answer begins or ends inside a token."""
    first_not_located: tuple[str, ...] = ()
    """Place and id of the first questions that are `not_located`."""


@dataclass(frozen=True)
class QuestionArrays:
    """The arrays of `ptm.store.sections` that only the layout `questions` has.

    `spans` (S, 2): first and last token of the answer of each question within the tokens of its
    context, or NO_ANSWER or NOT_LOCATED twice; zeros for a context. `records` (D): the texts of
    each document, see `record_of`.
    """

    token_starts: I64
    token_ends: I64
    spans: I64
    records: list[bytes]

    def sections(self) -> dict[str, NDArray[Any]]:
        """The arrays by the names of their sections."""
        return {
            "token_starts": self.token_starts.astype(np.uint32),
            "token_ends": self.token_ends.astype(np.uint32),
            "answer_spans": self.spans.astype(np.int32).ravel(),
            "record_lengths": in_smallest_type(np.array([len(one) for one in self.records])),
            "records": np.frombuffer(b"".join(self.records), np.uint8),
        }

    @staticmethod
    def joined(several: Sequence[QuestionArrays]) -> QuestionArrays:
        """Concatenate the arrays of several pieces."""
        return QuestionArrays(
            np.concatenate([one.token_starts for one in several]),
            np.concatenate([one.token_ends for one in several]),
            np.concatenate([one.spans for one in several]),
            [record for one in several for record in one.records],
        )


def question_arrays(
    documents: Sequence[Sequence[str]],
    questions: Sequence[Sequence[Question]],
    lengths: I64,
    characters: CharacterSpans,
) -> tuple[QuestionArrays, QuestionCounts]:
    """Find the answers among the tokens.

    `documents` (D): the context and the questions of each. `questions` (D): the same questions.
    `lengths` (S), `characters` (T): tokens of each of these texts, none of them empty, and the
    characters of each token. Raises UserError if a question has no labels.
    """
    begins = exclusive_cumsum(lengths)
    spans = np.zeros((lengths.size, 2), dtype=np.int64)
    records = []
    counts = _Counter()
    sentence = 0
    for texts, some in zip(documents, questions, strict=True):
        context = texts[0]
        first, count = int(begins[sentence]), int(lengths[sentence])
        starts = characters.starts[first : first + count]
        ends = characters.ends[first : first + count]
        for question in some:
            sentence += 1
            spans[sentence] = counts.span_of(question, context, starts, ends)
        sentence += 1
        records.append(_record(context, some))
    return QuestionArrays(characters.starts, characters.ends, spans, records), counts.counts


class _Counter:
    """Finds the tokens of answers, and counts what is unusual about them."""

    def __init__(self) -> None:
        self._questions = self._unanswerable = self._moved = self._inside = self._lost = 0
        self._first: list[str] = []

    def span_of(self, question: Question, context: str, starts: I64, ends: I64) -> tuple[int, int]:
        """First and last token of the answer; `starts`, `ends`: characters of the tokens."""
        self._questions += 1
        if question.answers is None:
            raise UserError(
                f"{question.place}: the question {question.id} has no answers, but training and "
                "evaluation need them. Files without answers are for `ptm predict`."
            )
        if not question.answers:
            self._unanswerable += 1
            return NO_ANSWER, NO_ANSWER
        found = located(context, question.answers)
        if found is not None:
            # Ends and starts ascend: the first token that ends after the answer's start, and the
            # last one that starts before its end.
            first = int(np.searchsorted(ends, found.start, side="right"))
            last = int(np.searchsorted(starts, found.end, side="left")) - 1
            if first <= last:
                self._moved += found.moved
                exact = starts[first] == found.start and ends[last] == found.end
                self._inside += not exact
                return first, last
        self._lost += 1
        if len(self._first) < _SHOWN:
            self._first.append(f"{question.place} ({question.id})")
        return NOT_LOCATED, NOT_LOCATED

    @property
    def counts(self) -> QuestionCounts:
        return QuestionCounts(
            self._questions,
            self._unanswerable,
            self._moved,
            self._lost,
            self._inside,
            tuple(self._first),
        )


def total_question_counts(several: Sequence[QuestionCounts]) -> QuestionCounts:
    """The counts of several pieces together, in order."""
    names = [name for one in several for name in one.first_not_located]
    return QuestionCounts(
        questions=sum(one.questions for one in several),
        unanswerable=sum(one.unanswerable for one in several),
        moved=sum(one.moved for one in several),
        not_located=sum(one.not_located for one in several),
        inside_tokens=sum(one.inside_tokens for one in several),
        first_not_located=tuple(names[:_SHOWN]),
    )


@dataclass(frozen=True)
class ParagraphRecord:
    """The texts of a document: its context, and of each question the id and the gold answers."""

    context: str
    ids: tuple[str, ...]
    answers: tuple[tuple[str, ...], ...]


def _record(context: str, questions: Sequence[Question]) -> bytes:
    texts = [[one.id, [answer.text for answer in one.answers or ()]] for one in questions]
    return json.dumps([context, texts], ensure_ascii=False, separators=(",", ":")).encode()


def record_of(data: bytes) -> ParagraphRecord:
    """The texts of a document from the bytes of its record in a store."""
    context, questions = json.loads(data)
    return ParagraphRecord(
        context,
        tuple(name for name, _ in questions),
        tuple(tuple(answers) for _, answers in questions),
    )
