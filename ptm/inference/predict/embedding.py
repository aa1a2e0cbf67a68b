"""Answers of a model of sentence embeddings: the similarity of the two texts of each pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from ptm.components.objectives.scores.correlation import pearson, spearman
from ptm.counted import counted
from ptm.errors import UserError
from ptm.inference.embed import Embedder
from ptm.inference.predict.base import (
    TEXT_FIELDS,
    InputFiles,
    Prediction,
    PredictionOptions,
    Predictor,
    Window,
)
from ptm.inference.predict.text_files import InputText, text_windows
from ptm.interop.sources.base import ModelSource
from ptm.recipe.corpus_block import FieldsBlock, ReadingBlock
from ptm.text.labels import NumberLabels


class EmbeddingPredictor(Predictor[InputText]):
    """Predicts cosines. Labels in the files are repeated; numbers are correlated with them."""

    type: ClassVar[str] = "embedding"
    uses: ClassVar[tuple[str, ...]] = TEXT_FIELDS

    def __init__(self, source: ModelSource, options: PredictionOptions) -> None:
        if options.sequence_length is not None or options.precision != "fp32":
            raise UserError(
                f"{source.folder}: --sequence-length and --precision are not supported for "
                "sentence embeddings: objective.max_length of the model is the longest text, and "
                "the precision is fp32. Remove the option."
            )
        self._embedder = Embedder(source)
        self._reading = _reading_pairs(source.data_recipe().data)
        self._options = options
        self._labelled = False
        self._scored: list[tuple[float, float]] = []
        self._empty = 0
        self._damaged: list[InputText] = []
        self._others: list[InputText] = []

    def windows(self, files: InputFiles) -> Iterator[Window[InputText]]:
        numbers = NumberLabels()
        return text_windows(
            files, self._reading, is_label=numbers.__contains__, window=self._options.window
        )

    def columns(self, first: Window[InputText]) -> tuple[str, ...]:
        self._labelled = any(one.label is not None for one in first.inputs)
        return ("similarity", *(("label",) if self._labelled else ()))

    def predict(self, inputs: Sequence[InputText]) -> list[Prediction]:
        usable = [one for one in inputs if one.texts]
        single = next((one for one in usable if len(one.texts) != 2), None)
        if single is not None:
            raise UserError(
                f"{single.place}: the input is a single text, but similarities are those of "
                "pairs. Give each line two texts, or write vectors with `ptm embed --file`."
            )
        found = iter(self._similarities(usable).tolist())
        answers = []
        for one in inputs:
            number = next(found) if one.texts else None
            self._count(one, number)
            answers.append(self._prediction(one, number))
        return answers

    def _similarities(self, pairs: Sequence[InputText]) -> np.ndarray:
        """The cosine of each pair. A text that occurs several times is embedded once."""
        if not pairs:
            return np.empty(0)
        index: dict[str, int] = {}
        places: list[str] = []
        chosen = np.empty((len(pairs), 2), dtype=np.int64)
        for row, one in enumerate(pairs):
            for side, text in enumerate(one.texts):
                if text not in index:
                    places.append(one.place)
                chosen[row, side] = index.setdefault(text, len(index))
        vectors = self._embedder.sentences(list(index), places=places)
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return np.asarray((unit[chosen[:, 0]] * unit[chosen[:, 1]]).sum(axis=1))

    def _count(self, one: InputText, similarity: float | None) -> None:
        if one.problem:
            self._damaged.append(one)
        elif similarity is None:
            self._empty += 1
        elif one.label and one.label in NumberLabels():
            self._scored.append((float(one.label), similarity))
        elif one.label:
            self._others.append(one)

    def _prediction(self, one: InputText, number: float | None) -> Prediction:
        values: dict[str, object] = {"similarity": number}
        if one.label is not None:
            values["label"] = one.label
        cell = "" if number is None else f"{number:.6g}"
        return Prediction(values, (cell, *((one.label or "",) if self._labelled else ())))

    def notes(self) -> list[str]:
        found = self._embedder.notes()
        if self._empty:
            found.append(
                f"{counted(self._empty, 'input lacks', 'inputs lack')}"
                " a text, without which there is no answer."
            )
        if self._damaged:
            first = self._damaged[0]
            found.append(
                f"{counted(len(self._damaged), 'input')} could not be read and got no answer; the "
                f"first is {first.place}: {first.problem.rstrip('.')}."
            )
        if self._others:
            first = self._others[0]
            found.append(
                f"{counted(len(self._others), 'label is', 'labels are')}"
                " not numeric, so there is no correlation "
                f'with similarities; the first is {first.place}: "{(first.label or "")[:40]}". '
                "Without a header, the first of three columns is the label."
            )
        if self._scored:
            labels, predicted = np.array(self._scored, dtype=np.float64).T
            found.append(
                f"Pearson correlation {pearson(labels, predicted):.5f}, Spearman "
                f"{spearman(labels, predicted):.5f} on {counted(len(self._scored), 'label')}"
            )
        return found


def _reading_pairs(reading: ReadingBlock) -> ReadingBlock:
    """How pairs are read: the fields of the recipe's pairs or triplets are those of two texts."""
    fields = reading.fields
    first = fields.text or fields.source or fields.anchor
    second = fields.text_b or fields.target or fields.positive
    if reading.text_field is not None:
        first = None
    both = FieldsBlock(text=first, text_b=second, label=fields.label)
    return reading.model_copy(update={"fields": both})
