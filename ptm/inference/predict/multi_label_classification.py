"""Answers of a classifier whose texts may have several labels: all that are likely enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch

from ptm.components.objectives.multi_label_classification import MultiLabelClassification
from ptm.counted import counted
from ptm.errors import UserError
from ptm.inference.predict.base import (
    TEXT_FIELDS,
    InputFiles,
    Prediction,
    PredictionOptions,
    Predictor,
    Window,
)
from ptm.inference.predict.text_files import InputText, text_windows
from ptm.inference.predict.text_model import TextModel
from ptm.interop.sources.base import ModelSource


class MultiLabelPredictor(Predictor[InputText]):
    """Predicts labels. Those in the files are repeated beside them and give the accuracy."""

    type: ClassVar[str] = "multi_label_classification"
    uses: ClassVar[tuple[str, ...]] = ("probabilities", "threshold", *TEXT_FIELDS)

    def __init__(self, source: ModelSource, options: PredictionOptions) -> None:
        objective = source.recipe().objective.without_teachers
        assert isinstance(objective, MultiLabelClassification), "the objective of this predictor"
        # Masked-token prediction would mask the texts.
        objective = objective.model_copy(update={"mlm": None})
        self._labels = objective.label_set
        self._threshold = options.threshold or objective.threshold
        self._model = TextModel(source, objective, options, output=objective.head_output)
        self._reading = source.data_recipe().data
        self._options = options
        self._labelled = False
        self._scored = self._hits = self._unknown = 0
        self._first_unknown = ""

    def windows(self, files: InputFiles) -> Iterator[Window[InputText]]:
        return text_windows(
            files,
            self._reading,
            is_label=self._labels.__contains__,
            window=self._options.window,
        )

    def columns(self, first: Window[InputText]) -> tuple[str, ...]:
        self._labelled = any(one.label is not None for one in first.inputs)
        label = ("labels",) if self._labelled else ()
        each = self._labels.names if self._options.probabilities else ()
        return ("prediction", *label, *(f"probability_{name}" for name in each))

    def predict(self, inputs: Sequence[InputText]) -> list[Prediction]:
        found = [self._answer(one, None) for one in inputs]
        for batch in self._model.outputs(inputs):
            probabilities = torch.sigmoid(batch.values)
            for index, row in zip(batch.indices.tolist(), probabilities.tolist(), strict=True):
                found[index] = self._answer(inputs[index], row)
        return found

    def _answer(self, one: InputText, probabilities: Sequence[float] | None) -> Prediction:
        """`probabilities`: that of each label; None for an input without an answer."""
        names = self._labels.names
        predicted = [
            name
            for name, likely in zip(names, probabilities or (), strict=probabilities is not None)
            if likely >= self._threshold
        ]
        values: dict[str, object] = {"predictions": None, "probabilities": None}
        if probabilities is not None:
            each = dict(zip(names, probabilities, strict=True))
            values = {"predictions": predicted, "probabilities": each}
        cells = [self._labels.separator.join(predicted)]
        if one.label is not None:
            values["labels"] = list(self._labels.parts(one.label))
            if probabilities is not None:
                self._score(one, predicted)
        if self._labelled:
            cells.append(self._labels.separator.join(self._labels.parts(one.label or "")))
        if self._options.probabilities:
            shown = ("",) * len(names) if probabilities is None else map(_shown, probabilities)
            cells += shown
        return Prediction(values, tuple(cells))

    def _score(self, one: InputText, predicted: Sequence[str]) -> None:
        labels = self._labels.parts(one.label or "")
        try:
            self._labels.indexes_of(one.label or "")
        except UserError:
            self._unknown += 1
            self._first_unknown = self._first_unknown or f"{one.place}: {', '.join(labels)}"
            return
        self._scored += 1
        self._hits += set(labels) == set(predicted)

    def notes(self) -> list[str]:
        found = self._model.notes()
        if self._unknown:
            found.append(
                f"{counted(self._unknown, 'input has', 'inputs have')}"
                " labels that are none of the model's "
                f"and do not count in the accuracy; the first is {self._first_unknown}."
            )
        if self._scored:
            share = self._hits / self._scored
            found.append(
                f"subset accuracy {share:.5f} on {counted(self._scored, 'input')} with labels"
            )
        return found


def _shown(probability: float) -> str:
    return f"{probability:.6g}"
