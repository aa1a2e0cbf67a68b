"""Files of questions to answer, with or without gold answers, in any form of the layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ptm.inference.predict.base import InputFiles, Window
from ptm.inference.predict.record_files import Placed, record_inputs
from ptm.recipe.corpus_block import ReadingBlock
from ptm.text.corpus import ParsedBlock


@dataclass(frozen=True)
class InputQuestion(Placed):
    """A question and its context. `answers`: gold ones; None if the file has none."""

    id: str
    question: str
    context: str
    answers: tuple[str, ...] | None
    problem: str | None = None
    """Of a record without a question: what is wrong with it, "" for a blank one."""


def question_inputs(
    files: InputFiles, reading: ReadingBlock | None, *, window: int
) -> Iterator[Window[InputQuestion]]:
    """Yield the questions of all files, as `record_inputs`."""
    return record_inputs(files, reading, "questions", _questions, window=window)


def _questions(parsed: ParsedBlock) -> Iterator[tuple[InputQuestion, int]]:
    for texts, questions in zip(parsed.documents, parsed.questions or [], strict=True):
        size = len(texts[0])
        for text, one in zip(texts[1:], questions, strict=True):
            gold = one.answers
            answers = None if gold is None else tuple(answer.text for answer in gold)
            found = InputQuestion(one.place, one.id, text, texts[0], answers, one.problem)
            yield found, size + len(text)
            size = 0
