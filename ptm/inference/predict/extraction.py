"""Answers of a model for extractive question answering: spans of the context, best first.

Shapes: Q questions, E windows of their contexts, N spans of a window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.components.objectives.extraction import Extraction
from ptm.counted import counted
from ptm.data.examples import TokenSpans
from ptm.data.packing import RowSize
from ptm.data.question_windows import WindowRanges, window_ranges
from ptm.errors import UserError
from ptm.inference.predict.base import (
    InputFiles,
    OutputFormat,
    Prediction,
    PredictionOptions,
    Predictor,
    Window,
)
from ptm.inference.predict.question_files import InputQuestion, question_inputs
from ptm.inference.predict.row_model import RowModel
from ptm.inference.predict.unanswered import Unanswered
from ptm.interop.sources.base import ModelSource
from ptm.store.texts import TextTokenizer


@dataclass(frozen=True)
class _Answer:
    """A span of the context: characters [start, end), and the sum of its logits."""

    start: int
    end: int
    score: float


@dataclass(frozen=True)
class _Found:
    """What the model says about a question: its best spans, and the score of no answer."""

    answers: list[_Answer]
    null: float


class ExtractionPredictor(Predictor[InputQuestion]):
    """Answers questions. Gold answers in the files give exact match and F1."""

    type: ClassVar[str] = "extraction"
    uses: ClassVar[tuple[str, ...]] = ("n_best", "no_answer_threshold")
    formats: ClassVar[tuple[OutputFormat, ...]] = ("tsv", "json_lines", "squad")

    def __init__(self, source: ModelSource, options: PredictionOptions) -> None:
        objective = source.recipe().objective.without_teachers
        assert isinstance(objective, Extraction), "the objective of this predictor"
        if options.no_answer_threshold is not None:
            if not objective.no_answer:
                raise UserError(
                    "--no-answer-threshold: the model always answers, since it was trained with "
                    "objective.no_answer: false. Remove the option."
                )
            objective = objective.model_copy(
                update={"no_answer_threshold": options.no_answer_threshold}
            )
        self._objective = objective
        self._options = options
        self._model = RowModel(source, objective, options, outputs=("span_logits",))
        longest = self._model.longest
        obstacle = objective.row_obstacle(RowSize(longest, longest))
        if obstacle is not None:
            raise UserError(f"--sequence-length: {obstacle}")
        self._tokenize = TextTokenizer(self._model.tokenizer, None, np.uint32)
        self._reading = source.data_recipe().data
        self._unanswered = Unanswered()
        self._cut = self._empty = 0
        self._texts: list[str] = []
        self._gold: list[tuple[str, ...]] = []
        self._differences: list[float] = []

    def windows(self, files: InputFiles) -> Iterator[Window[InputQuestion]]:
        return question_inputs(files, self._reading, window=self._options.window)

    def columns(self, first: Window[InputQuestion]) -> tuple[str, ...]:
        silent = ("no_answer_score",) if self._objective.no_answer else ()
        return ("id", "answer", "start", "end", "probability", "score", *silent)

    def predict(self, inputs: Sequence[InputQuestion]) -> list[Prediction]:
        found = self._answers(inputs)
        predictions = []
        for one, answered in zip(inputs, found, strict=True):
            if one.problem is not None:
                self._unanswered.note(one.place, one.problem)
            elif answered is None:
                self._empty += 1
            elif one.answers is not None:
                best = answered.answers[0]
                self._texts.append(one.context[best.start : best.end])
                self._gold.append(one.answers)
                self._differences.append(answered.null - best.score)
            predictions.append(self._prediction(one, answered))
        return predictions

    def _answers(self, inputs: Sequence[InputQuestion]) -> list[_Found | None]:
        """The answers of Q questions; None for one that has no tokens, or a context without any."""
        contexts = {one.context: 0 for one in inputs}
        for number, context in enumerate(contexts):
            contexts[context] = number
        queries, _ = self._tokenize.with_characters([one.question for one in inputs])
        read, characters = self._tokenize.with_characters(list(contexts))
        of_context = np.array([contexts[one.context] for one in inputs], dtype=np.int64)
        longest = self._objective.max_question_length
        self._cut += int(np.count_nonzero(queries.lengths > longest))
        question_lengths = np.minimum(queries.lengths, longest)
        context_lengths = read.lengths[of_context]
        usable = np.flatnonzero((question_lengths > 0) & (context_lengths > 0))
        ranges = window_ranges(
            question_lengths[usable],
            context_lengths[usable],
            columns=self._model.longest - self._objective.special_token_count(2),
            stride=self._objective.doc_stride,
        )
        question = usable[ranges.question]
        starts = np.stack(
            [
                exclusive_cumsum(queries.lengths)[question],
                exclusive_cumsum(read.lengths)[of_context][question]
                + ranges.offsets
                + queries.tokens.size,
            ],
            axis=1,
        )
        parts = np.stack([question_lengths[question], ranges.lengths], axis=1)
        tokens = np.concatenate([queries.tokens, read.tokens]).astype(np.int64)
        spans = self._spans(tokens, starts, parts)
        # The tokens of the contexts follow those of the questions.
        at = starts[:, 1] - queries.tokens.size
        return self._merged(
            spans,
            characters.starts[at[:, None] + spans["first"]],
            characters.ends[at[:, None] + spans["last"]],
            WindowRanges(question, ranges.offsets, ranges.lengths),
            count=len(inputs),
        )

    def _spans(self, tokens: I64, starts: I64, parts: I64) -> dict[str, NDArray[Any]]:
        """The best spans of each window (E, N) within its part of the context.

        See `Extraction.spans`. `starts`, `parts` (E, 2): ranges of question and context in
        `tokens`. Spans that do not exist have the score -inf.
        """
        most = min(self._options.answers, max(1, int(parts[:, 1].max(initial=1))) ** 2)
        found: dict[str, NDArray[Any]] = {
            "score": np.full((len(parts), most), -np.inf),
            "first": np.zeros((len(parts), most), dtype=np.int64),
            "last": np.zeros((len(parts), most), dtype=np.int64),
            "null": np.zeros(len(parts)),
        }
        specials = self._objective.special_token_count(2)
        for chosen in self._model.batches(parts.sum(axis=1) + specials):
            at = ragged_ranges(starts[chosen].ravel(), parts[chosen].ravel())
            answers = np.zeros((chosen.size, 2), dtype=np.int64)
            texts = TokenSpans(tokens[at], parts[chosen], None, spans=answers)
            outputs, tensors = self._model.run(texts)
            logits = outputs["span_logits"].float()
            spans = self._objective.spans({"span_logits": logits}, tensors, count=most)
            for name, tensor in spans.items():
                array = tensor[: chosen.size].cpu().numpy()
                if array.ndim == 1:
                    found[name][chosen] = array
                else:
                    found[name][chosen, : array.shape[1]] = array
        # Spans that do not exist may be anywhere.
        real = np.isfinite(found["score"])
        found["first"][~real] = found["last"][~real] = 0
        return found

    def _merged(
        self,
        spans: dict[str, NDArray[Any]],
        starts: I64,
        ends: I64,
        windows: WindowRanges,
        *,
        count: int,
    ) -> list[_Found | None]:
        """The answers of each question: those of all its windows, each span once."""
        scores = spans["score"].tolist()
        nulls = spans["null"].tolist()
        best: list[dict[tuple[int, int], float]] = [{} for _ in range(count)]
        silent = [np.inf] * count
        places = zip(starts.tolist(), ends.tolist(), strict=True)
        for at, (question, (first, last)) in enumerate(
            zip(windows.question.tolist(), places, strict=True)
        ):
            silent[question] = min(silent[question], nulls[at])
            known = best[question]
            for place in zip(scores[at], first, last, strict=True):
                score, start, end = place
                if score > known.get((start, end), -np.inf):
                    known[start, end] = score
        found: list[_Found | None] = []
        for known, null in zip(best, silent, strict=True):
            # Sorting keeps the order of windows for equal scores.
            ranked = sorted(known.items(), key=lambda item: -item[1])[: self._options.answers]
            answers = [_Answer(start, end, score) for (start, end), score in ranked]
            found.append(_Found(answers, null) if answers else None)
        return found

    def _prediction(self, one: InputQuestion, found: _Found | None) -> Prediction:
        width = 6 + self._objective.no_answer
        if found is None:
            empty: dict[str, object] = {"id": one.id, "answer": None, "n_best": []}
            return Prediction(empty, (_cell(one.id), *[""] * (width - 1)))
        scores = [answer.score for answer in found.answers]
        silent = self._objective.no_answer
        scores += [found.null] if silent else []
        exponents = np.exp(np.array(scores) - max(scores))
        likely = (exponents / exponents.sum()).tolist()
        n_best = [
            _described(one.context, answer, probability)
            for answer, probability in zip(found.answers, likely, strict=False)
        ]
        best = n_best[0]
        if silent:
            none: dict[str, object] = {"answer": "", "start": None, "end": None}
            none |= {"score": found.null, "probability": likely[-1]}
            difference = found.null - found.answers[0].score
            if difference > self._objective.no_answer_threshold:
                best = none
            n_best = sorted([*n_best, none], key=lambda item: -float(str(item["score"])))
        values: dict[str, object] = {"id": one.id, **best}
        values |= {"no_answer_score": found.null} if silent else {}
        values["n_best"] = n_best
        cells = (
            *(_cell(one.id), _cell(str(best["answer"]))),
            *("" if best[name] is None else str(best[name]) for name in ("start", "end")),
            *(f"{best[name]:.6g}" for name in ("probability", "score")),
            *((f"{found.null:.6g}",) if silent else ()),
        )
        return Prediction(values, cells)

    def notes(self) -> list[str]:
        found = []
        if self._cut:
            found.append(
                f"{counted(self._cut, 'question was', 'questions were')}"
                " longer than objective.max_question_length = "
                f"{self._objective.max_question_length} tokens and cut at the end."
            )
        if self._empty:
            found.append(
                f"{counted(self._empty, 'question has', 'questions have')}"
                " no tokens, or a context without "
                "tokens, and therefore no answer."
            )
        found += self._unanswered.sentences()
        if self._gold:
            scores = self._objective.answer_scores(
                self._texts, self._gold, np.array(self._differences)
            )
            shown = ", ".join(
                f"{name} {value:.5f}" for name, value in scores.items() if value is not None
            )
            found.append(f"{shown} on {counted(len(self._gold), 'question')} with gold answers")
        return found


def _described(context: str, answer: _Answer, probability: float) -> dict[str, object]:
    return {
        "answer": context[answer.start : answer.end],
        "start": answer.start,
        "end": answer.end,
        "score": answer.score,
        "probability": probability,
    }


def _cell(text: str) -> str:
    """A text as a cell of TSV: TABs and line ends become spaces."""
    return " ".join(text.split())
