"""Answers of a classifier: the most likely label of each text or pair, with its probability."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch

from ptm.components.objectives.classification import Classification
from ptm.counted import counted
from ptm.inference.predict.base import (
    InputFiles,
    Prediction,
    PredictionOptions,
    Predictor,
    Window,
)
from ptm.inference.predict.text_files import InputText, text_windows
from ptm.inference.predict.text_model import TextModel
from ptm.interop.sources.base import ModelSource


class ClassificationPredictor(Predictor[InputText]):
    """Predicts labels. Labels in the files are repeated beside them and give the accuracy."""

    type: ClassVar[str] = "classification"

    def __init__(self, source: ModelSource, options: PredictionOptions) -> None:
        objective = source.recipe().objective.without_teachers
        assert isinstance(objective, Classification), "the objective of this predictor"
        # Masked-token prediction would mask the texts.
        objective = objective.model_copy(update={"mlm": None})
        self._names = objective.label_set.names
        self._model = TextModel(source, objective, options, output=objective.head_output)
        self._reading = source.data_recipe().data
        self._options = options
        self._labelled = False
        self._scored = self._hits = self._unknown = 0
        self._first_unknown = ""

    def windows(self, files: InputFiles) -> Iterator[Window[InputText]]:
        known = frozenset(self._names)
        return text_windows(
            files, self._reading, is_label=known.__contains__, window=self._options.window
        )

    def columns(self, first: Window[InputText]) -> tuple[str, ...]:
        self._labelled = any(one.label is not None for one in first.inputs)
        label = ("label",) if self._labelled else ()
        each = self._names if self._options.probabilities else ()
        return ("prediction", "probability", *label, *(f"probability_{name}" for name in each))

    def predict(self, inputs: Sequence[InputText]) -> list[Prediction]:
        found = [self._without_answer(one) for one in inputs]
        for batch in self._model.outputs(inputs):
            probabilities = torch.softmax(batch.values, dim=-1)
            best = probabilities.argmax(dim=-1)
            for index, row, label in zip(
                batch.indices.tolist(), probabilities.tolist(), best.tolist(), strict=True
            ):
                self._score(inputs[index], label)
                found[index] = self._answer(inputs[index], row, label)
        return found

    def _answer(self, one: InputText, probabilities: Sequence[float], best: int) -> Prediction:
        name, likely = self._names[best], probabilities[best]
        values: dict[str, object] = {
            "prediction": name,
            "probability": likely,
            "probabilities": dict(zip(self._names, probabilities, strict=True)),
        }
        return self._prediction(one, values, (name, *map(_shown, (likely, *probabilities))))

    def _without_answer(self, one: InputText) -> Prediction:
        values: dict[str, object] = {"prediction": None, "probability": None, "probabilities": None}
        return self._prediction(one, values, ("",) * (2 + len(self._names)))

    def _prediction(
        self, one: InputText, values: dict[str, object], cells: tuple[str, ...]
    ) -> Prediction:
        """`cells`: the label, its probability and those of all labels."""
        if one.label is not None:
            values["label"] = one.label
        label = (one.label or "",) if self._labelled else ()
        each = cells[2:] if self._options.probabilities else ()
        return Prediction(values, (*cells[:2], *label, *each))

    def _score(self, one: InputText, predicted: int) -> None:
        if not one.label:
            return
        if one.label not in self._names:
            self._unknown += 1
            self._first_unknown = self._first_unknown or f'{one.place}: "{one.label}"'
            return
        self._scored += 1
        self._hits += one.label == self._names[predicted]

    def notes(self) -> list[str]:
        found = self._model.notes()
        if self._unknown:
            found.append(
                f"{counted(self._unknown, 'label is', 'labels are')}"
                " none of the model's, and not counted in "
                f"the accuracy; the first is {self._first_unknown}."
            )
        if self._scored:
            found.append(
                f"accuracy {self._hits / self._scored:.5f} on {counted(self._scored, 'label')}"
            )
        return found


def _shown(probability: float) -> str:
    assert not math.isnan(probability), "logits are finite"
    return f"{probability:.6g}"
