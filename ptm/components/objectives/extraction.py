"""Extractive question answering: the span of a paragraph that answers a question.

Devlin et al. 2018, sections 4.2 and 4.3. Shapes, beside those of `ptm.components.objectives.base`:
P windows of a micro-batch (padded), E windows of a set, Q questions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ptm.arrays import I64, exclusive_cumsum
from ptm.component import NonNegativeInt, PositiveInt
from ptm.components.objectives.base import (
    EXAMPLE_NUMBERS,
    BatchView,
    Metric,
    MicroBatch,
    Objective,
    RandomSource,
    Score,
    SpanView,
)
from ptm.components.objectives.classifier_head import TokenHead
from ptm.components.objectives.masked_tokens import add_special_tokens
from ptm.components.objectives.scores.cmrc_scores import cmrc_scores
from ptm.components.objectives.scores.squad_scores import (
    best_threshold,
    squad2_scores,
    squad_scores,
)
from ptm.components.objectives.template import Template
from ptm.counted import counted
from ptm.data.documents import Documents
from ptm.data.examples import Examples, ExamplesType, TokenSpans
from ptm.data.packing import RowSize
from ptm.data.placement import Placement, row_tensors
from ptm.data.question_windows import UNKNOWN, QuestionWindows, question_windows
from ptm.nn.model_shape import ModelShape
from ptm.plan import Operation
from ptm.store.reader import TokenStore
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    from torch import Tensor

    from ptm.nn.answer_spans import WindowCells

_CELLS = ("window_cells", "window_lengths", "context_positions")
_RAGGED = (*_CELLS, "start_positions", "end_positions", EXAMPLE_NUMBERS)
_OF_NO_ANSWER = (
    *("HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1"),
    *("best_exact", "best_exact_thresh", "best_f1", "best_f1_thresh"),
)


class Extraction(Objective):
    """Predict the first and the last token of the answer in a paragraph."""

    type: Literal["extraction"]
    doc_stride: NonNegativeInt = 128
    """Tokens that neighbouring windows of a long context share, as `doc_stride` of transformers'
    run_qa.py. (In Google's run_squad.py it is the distance between the starts of windows.)"""
    max_question_length: PositiveInt = 64
    """Tokens after which questions are cut; they are counted."""
    max_answer_length: PositiveInt = 30
    """Tokens of the longest answer that is predicted."""
    no_answer: bool = False
    """Whether questions may have no answer in their context, as in SQuAD 2.0. Their target is
    [CLS]."""
    no_answer_threshold: float = Field(default=0.0, allow_inf_nan=False)
    """With `no_answer`: a question has no answer if the score of [CLS] is larger than that of the
    best answer by more than this number. Evaluations report the best values, `best_f1_thresh` and
    `best_exact_thresh`."""
    scoring: Literal["squad", "cmrc"] = "squad"
    """How answers are compared. squad: words, without articles and punctuation, as SQuAD's scripts.
    cmrc: Chinese characters and words, as the script of CMRC 2018."""

    head: TokenHead = TokenHead()
    template: Template = Template()

    index_type: ClassVar[ExamplesType] = QuestionWindows
    layouts: ClassVar[tuple[str, ...]] = ("questions",)
    visibilities: ClassVar[tuple[str, ...]] = ("full", "causal")
    special_roles: ClassVar[tuple[str, ...]] = ("pad", "unk", "cls", "sep")
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("extraction_loss", count="windows", weight=1.0),
        Metric("span_accuracy", count="windows", higher_is_better=True),
    )
    targets: ClassVar[tuple[str, ...]] = _RAGGED
    ragged_tensors: ClassVar[tuple[str, ...]] = _RAGGED
    view: ClassVar[BatchView] = BatchView(span=SpanView("start_positions", "end_positions"))
    segments: ClassVar[int] = 2
    perplexity_of: ClassVar[str | None] = None

    @model_validator(mode="after")
    def _check_threshold(self) -> Self:
        if self.no_answer_threshold and not self.no_answer:
            raise ValueError("no_answer_threshold is used only with no_answer: true. Remove it")
        if not (self.template.start and self.template.end and self.template.separators):
            raise ValueError(
                "template: a question and its context need [CLS] before them and [SEP] between and "
                "after them. Set start: true, end: true and separators: 1 or 2"
            )
        return self

    def special_token_count(self, texts: int) -> int:
        return self.template.row.count(texts)

    @property
    def _specials(self) -> int:
        """Special tokens of a question with its context."""
        return self.special_token_count(2)

    @property
    def scores(self) -> tuple[Score, ...]:  # type: ignore[override]
        names = ("exact_match", "f1", *(_OF_NO_ANSWER if self.no_answer else ()))
        return tuple(Score(name, higher_is_better=not name.endswith("thresh")) for name in names)

    @property
    def head_options(self) -> Mapping[str, Any]:
        return {"head": self.head.effective}

    def has_head(self, names: Collection[str]) -> bool:
        return "qa_outputs.weight" in names

    @property
    def needs_word_starts(self) -> bool:
        return False

    def row_obstacle(self, size: RowSize) -> str | None:
        needed = self.max_question_length + self._specials + self.doc_stride + 1
        if size.source >= needed:
            return None
        return (
            f"{size.source} is too short: a question of objective.max_question_length = "
            f"{self.max_question_length} tokens, {self._specials} special tokens and windows that "
            f"share objective.doc_stride = {self.doc_stride} tokens need {needed}. Set {needed} or "
            "more, or smaller values of these."
        )

    def store_obstacle(self, report: Mapping[str, int]) -> str | None:
        count = report.get("unanswerable_questions", 0)
        if self.no_answer or not count:
            return None
        return (
            f"{counted(count, 'question has', 'questions have')} no answer in its context, but "
            "objective.no_answer is false. Set objective.no_answer: true, or remove such questions."
        )

    def row_lengths(self, examples: Examples) -> I64:
        return (np.asarray(examples.lengths) + self._specials)[:, None]

    @property
    def index_key(self) -> str:
        return f"questions-{self.doc_stride}-{self.max_question_length}-{self._specials}"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Return the windows of all questions; for training, only questions with a known answer."""
        return question_windows(
            documents,
            columns=size.source,
            stride=self.doc_stride,
            max_question_length=self.max_question_length,
            specials=self._specials,
        )

    def collate(
        self,
        texts: TokenSpans,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        random_source: RandomSource,
    ) -> MicroBatch:
        """Return the tensors of [CLS] question [SEP] context [SEP], and of the windows (P each).

        `window_cells`, `window_lengths`: a window's first cell in the flattened rows, and its
        tokens. `context_positions`: the position of its context. `start_positions`,
        `end_positions`: those of the answer, 0 without one, -1 if it is unknown.
        """
        assert texts.spans is not None, "windows of questions have spans"
        whole, segments = add_special_tokens(texts, vocabularies.source, self.template.row)
        pad = vocabularies.source.special_id("pad")
        tensors = {
            **row_tensors(whole.ids, placement, pad=pad, segments=segments),
            "window_cells": placement.first_cells,
            "window_lengths": placement.lengths,
            "context_positions": texts.part_lengths[:, 0] + self._specials - 1,
            "start_positions": texts.spans[:, 0],
            "end_positions": texts.spans[:, 1],
            EXAMPLE_NUMBERS: placement.example + 1,
        }
        return MicroBatch(
            tensors=tensors,
            counts={"windows": int((texts.spans[:, 0] != UNKNOWN).sum())},
            rows=placement.rows,
            examples=int(placement.example.size),
            tokens=int(placement.lengths.sum()),
        )

    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        """Return the head: hidden (B, T, D) -> span_logits (B, T, 2)."""
        from torch import nn

        from ptm.nn.example_pooling import DenseTransform

        transform = Operation(
            "span_transform",
            partial(DenseTransform, shape, **self.head.transform),
            ("hidden",),
            ("hidden",),
        )
        # Without dropout, as in transformers' models for question answering.
        outputs = Operation(
            "qa_outputs",
            partial(nn.Linear, shape.hidden_size, 2, bias=self.head.bias),
            ("hidden",),
            ("span_logits",),
        )
        return (transform, outputs) if self.head.dense else (outputs,)

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("span_logits",)

    def metric_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        import torch

        from ptm.nn.answer_spans import span_sums, window_logits

        logits = window_logits(outputs["span_logits"], window_cells(tensors))
        positions = torch.stack([tensors["start_positions"], tensors["end_positions"]], dim=1)
        counted = (tensors[EXAMPLE_NUMBERS] > 0) & (positions[:, 0] != UNKNOWN)
        loss, hits = span_sums(logits, positions, counted)
        return {"extraction_loss": loss, "span_accuracy": hits}

    def predictions(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the best span of the context of each window (P), and the score of no answer."""
        return {EXAMPLE_NUMBERS: tensors[EXAMPLE_NUMBERS], **self.spans(outputs, tensors, count=1)}

    def spans(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor], *, count: int
    ) -> dict[str, Tensor]:
        """Return the best spans of each window.

        `score`, `first`, `last` (P, N): spans as tokens of the window's part of the context, best
        first. `null` (P): the score of no answer.
        """
        from ptm.nn.answer_spans import best_spans, null_scores, window_logits

        cells = window_cells(tensors)
        logits = window_logits(outputs["span_logits"].detach(), cells)
        score, first, last = best_spans(
            logits, cells, max_answer_length=self.max_answer_length, count=count
        )
        begin = cells.contexts[:, None]
        return {
            "score": score,
            "first": first - begin,
            "last": last - begin,
            "null": null_scores(logits),
        }

    def compute_set_scores(
        self, predictions: Mapping[str, NDArray[Any]], examples: Examples, store: TokenStore
    ) -> dict[str, float | None]:
        """Return the scores of whole questions: the best span of all windows of each."""
        assert isinstance(examples, QuestionWindows), "the index of this objective"
        score = predictions["score"][:, 0].astype(np.float64)
        # The best window of each question (Q): the first one with the highest score.
        order = np.lexsort((np.arange(score.size), -score, examples.questions))
        firsts = exclusive_cumsum(np.bincount(examples.questions))
        best = order[firsts]
        null = np.minimum.reduceat(predictions["null"].astype(np.float64), firsts)
        characters = _characters(
            store,
            examples.context_starts[best] + predictions["first"][best, 0],
            examples.context_starts[best] + predictions["last"][best, 0],
        )
        texts, answers = _texts_and_answers(store, examples, characters)
        return self.answer_scores(texts, answers, null - score[best])

    def answer_scores(
        self,
        texts: list[str],
        answers: list[tuple[str, ...]],
        differences: NDArray[np.float64],
    ) -> dict[str, float | None]:
        """Return the scores of Q questions.

        `texts`: their best answers, none of them empty. `answers`: their gold answers.
        `differences` (Q): the score of no answer minus that of the best answer.
        """
        answered = self._scores_of(texts, answers)
        if not self.no_answer:
            exact, f1 = answered.mean(axis=0).tolist()
            return {"exact_match": exact, "f1": f1}
        empty = self._scores_of([""] * len(texts), answers)
        silent = differences > self.no_answer_threshold
        chosen = np.where(silent[:, None], empty, answered)
        has = np.array([bool(gold) for gold in answers])
        found: dict[str, float | None] = {}
        for column, name in enumerate(("exact", "f1")):
            each = chosen[:, column]
            found["exact_match" if name == "exact" else name] = float(each.mean())
            found[f"HasAns_{name}"] = float(each[has].mean()) if has.any() else None
            found[f"NoAns_{name}"] = float(each[~has].mean()) if not has.all() else None
            best, threshold = best_threshold(answered[:, column], differences, has)
            found[f"best_{name}"], found[f"best_{name}_thresh"] = best, threshold
        return found

    def _scores_of(self, texts: list[str], answers: list[tuple[str, ...]]) -> NDArray[np.float64]:
        """Exact match and F1 of each text (Q, 2)."""
        if self.scoring == "squad":
            score = squad2_scores if self.no_answer else squad_scores
        else:
            score = cmrc_scores
        pairs = zip(texts, answers, strict=True)
        return np.array([score(text, gold or ("",) * self.no_answer) for text, gold in pairs])


def window_cells(tensors: Mapping[str, Tensor]) -> WindowCells:
    """Return where the windows of a micro-batch are in its rows."""
    from ptm.nn.answer_spans import WindowCells

    return WindowCells(*(tensors[name] for name in _CELLS))


def _characters(store: TokenStore, first: I64, last: I64) -> tuple[I64, I64]:
    """The characters of spans of tokens (Q each), by the positions of these in the store."""
    one = np.ones_like(first)
    return store.token_characters(first, one)[0], store.token_characters(last, one)[1]


def _texts_and_answers(
    store: TokenStore, examples: QuestionWindows, characters: tuple[I64, I64]
) -> tuple[list[str], list[tuple[str, ...]]]:
    """The text of each question's best answer, and its gold answers, in the order of questions."""
    texts: list[str] = []
    answers: list[tuple[str, ...]] = []
    numbers, begins, ends = (
        array.tolist() for array in (examples.numbers, characters[0], characters[1])
    )
    counts = np.bincount(examples.documents, minlength=store.info.documents).tolist()
    for count, record in zip(counts, store.records(), strict=True):
        for _ in range(count):
            at = len(texts)
            texts.append(record.context[begins[at] : ends[at]])
            answers.append(record.answers[numbers[at]])
    return texts, answers
