"""Answers of a model for multiple choice: the probability of each choice of a question.

Shapes: Q questions, C choices of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum, owner_of, ragged_ranges
from ptm.components.objectives.choice import Choice
from ptm.counted import counted
from ptm.data.examples import TokenSpans
from ptm.data.labelled import fitting_lengths
from ptm.inference.predict.base import (
    InputFiles,
    Prediction,
    PredictionOptions,
    Predictor,
    Window,
)
from ptm.inference.predict.record_files import Placed, record_inputs
from ptm.inference.predict.row_model import RowModel
from ptm.inference.predict.unanswered import Unanswered
from ptm.interop.sources.base import ModelSource
from ptm.store.texts import TextTokenizer
from ptm.text.choices import UNLABELLED
from ptm.text.corpus import ParsedBlock


@dataclass(frozen=True)
class InputChoices(Placed):
    """A question with its choices: the context, `question choice` texts, and the choices alone.

    `answer`: the number of the right choice, from 0; UNLABELLED without one.
    """

    context: str
    texts: tuple[str, ...]
    choices: tuple[str, ...]
    answer: int
    problem: str = ""
    """What is wrong with the answer, or with a record that has no choices."""


class ChoicePredictor(Predictor[InputChoices]):
    """Chooses answers. Right ones in the files give the accuracy."""

    type: ClassVar[str] = "choice"
    uses: ClassVar[tuple[str, ...]] = ("probabilities", "label_field")

    def __init__(self, source: ModelSource, options: PredictionOptions) -> None:
        objective = source.recipe().objective
        assert isinstance(objective, Choice), "the objective of this predictor"
        self._options = options
        self._specials = objective.special_token_count(2)
        self._shows_labels = False
        self._model = RowModel(source, objective, options, outputs=("choice_logits",))
        self._tokenize = TextTokenizer(self._model.tokenizer, None, np.uint32)
        self._reading = source.data_recipe().data
        self._unanswered = Unanswered()
        self._cut = self._empty = self._labelled = self._hits = self._wrong = 0
        self._first_wrong = ""

    def windows(self, files: InputFiles) -> Iterator[Window[InputChoices]]:
        return record_inputs(files, self._reading, "choices", _inputs, window=self._options.window)

    def columns(self, first: Window[InputChoices]) -> tuple[str, ...]:
        self._shows_labels = any(one.answer != UNLABELLED for one in first.inputs)
        each = ("probabilities",) if self._options.probabilities else ()
        labels = ("label",) if self._shows_labels else ()
        return ("prediction", "probability", "choice", *each, *labels)

    def predict(self, inputs: Sequence[InputChoices]) -> list[Prediction]:
        logits, usable = self._logits(inputs)
        predictions, at = [], 0
        for one, is_usable in zip(inputs, usable.tolist(), strict=True):
            count = len(one.choices)
            if count and one.problem:
                self._first_wrong = self._first_wrong or f"{one.place}: {one.problem.rstrip('.')}"
                self._wrong += 1
            elif not count:
                self._unanswered.note(one.place, one.problem)
            mine = logits[at : at + count] if is_usable else None
            at += count if is_usable else 0
            predictions.append(self._prediction(one, mine))
        return predictions

    def _logits(
        self, inputs: Sequence[InputChoices]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The logits of the choices of all usable questions, and which of the Q questions are."""
        contexts = {one.context: 0 for one in inputs}
        for number, context in enumerate(contexts):
            contexts[context] = number
        read = self._tokenize(list(contexts))
        queries = self._tokenize([text for one in inputs for text in one.texts])
        counts = np.array([len(one.texts) for one in inputs], dtype=np.int64)
        of_context = np.array([contexts[one.context] for one in inputs], dtype=np.int64)
        owner = owner_of(counts)
        lengths = np.stack([queries.lengths, read.lengths[of_context][owner]], axis=1)
        usable = np.bincount(owner[(lengths == 0).any(axis=1)], minlength=counts.size) == 0
        starts = np.stack(
            [
                exclusive_cumsum(queries.lengths),
                queries.tokens.size + exclusive_cumsum(read.lengths)[of_context][owner],
            ],
            axis=1,
        )
        chosen = usable[owner]
        parts = fitting_lengths(
            lengths[chosen], self._model.longest - self._specials, specials_per_text=0
        )
        self._cut += int((parts.sum(axis=1) < lengths[chosen].sum(axis=1)).sum())
        tokens = np.concatenate([queries.tokens, read.tokens]).astype(np.int64)
        return self._scored(tokens, starts[chosen], parts), usable

    def _scored(self, tokens: I64, starts: I64, parts: I64) -> NDArray[np.float64]:
        """The logit of each sequence (C); `starts`, `parts` (C, 2): its ranges in `tokens`."""
        logits = np.zeros(len(parts))
        for some in self._model.batches(parts.sum(axis=1) + self._specials) if len(parts) else ():
            at = ragged_ranges(starts[some].ravel(), parts[some].ravel())
            texts = TokenSpans(tokens[at], parts[some], None, np.zeros_like(some))
            outputs, _ = self._model.run(texts)
            found = outputs["choice_logits"].float()
            logits[some] = found[: some.size, 0].cpu().numpy()
        return logits

    def _prediction(self, one: InputChoices, logits: NDArray[np.float64] | None) -> Prediction:
        known = one.answer != UNLABELLED
        label = (str(one.answer) if known else "",) if self._shows_labels else ()
        if logits is None:
            self._empty += bool(one.choices)
            none: dict[str, object] = {"prediction": None, "probability": None, "choice": None}
            none["probabilities"] = None
            return Prediction(none, ("", "", "", *("",) * self._options.probabilities, *label))
        exponents = np.exp(logits - logits.max())
        likely = (exponents / exponents.sum()).tolist()
        best = int(np.argmax(logits))
        self._labelled += known
        self._hits += known and best == one.answer
        values: dict[str, object] = {
            "prediction": best,
            "probability": likely[best],
            "choice": one.choices[best],
            "probabilities": likely,
        }
        if known:
            values["label"] = one.answer
        each = (",".join(f"{value:.6f}" for value in likely),)
        cells = (
            *(str(best), f"{likely[best]:.6f}", " ".join(one.choices[best].split())),
            *(each if self._options.probabilities else ()),
            *label,
        )
        return Prediction(values, cells)

    def notes(self) -> list[str]:
        found = []
        if self._cut:
            found.append(
                f"{counted(self._cut, 'choice was', 'choices were')} longer than "
                f"{self._model.longest} tokens with the context, whose end was cut."
            )
        if self._empty:
            found.append(
                f"{counted(self._empty, 'question has', 'questions have')}"
                " a context or a choice without "
                "tokens, and therefore no answer."
            )
        found += self._unanswered.sentences()
        if self._wrong:
            found.append(
                f"{counted(self._wrong, 'question has', 'questions have')}"
                " an answer that is none of the "
                f"choices, which is not scored; the first is {self._first_wrong}."
            )
        if self._labelled:
            share = self._hits / self._labelled
            found.append(
                f"accuracy {share:.5f} on {counted(self._labelled, 'question')} with answers"
            )
        return found


def _inputs(parsed: ParsedBlock) -> Iterator[tuple[InputChoices, int]]:
    for texts, one in zip(parsed.documents, parsed.choices or [], strict=True):
        found = InputChoices(
            one.place, texts[0], tuple(texts[1:]), one.choices, one.answer, one.problem
        )
        yield found, sum(map(len, texts))
