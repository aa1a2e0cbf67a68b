"""Answers of a regression: one number for each text or pair."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch

from ptm.components.objectives.regression import Regression
from ptm.counted import counted
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


class RegressionPredictor(Predictor[InputText]):
    """Predicts numbers. Numbers in the files are repeated beside them, and correlated with them."""

    type: ClassVar[str] = "regression"
    uses: ClassVar[tuple[str, ...]] = TEXT_FIELDS

    def __init__(self, source: ModelSource, options: PredictionOptions) -> None:
        objective = source.recipe().objective.without_teachers
        assert isinstance(objective, Regression), "the objective of this predictor"
        # Masked-token prediction would mask the texts.
        objective = objective.model_copy(update={"mlm": None})
        self._labels = objective.label_set
        self._model = TextModel(source, objective, options, output=objective.head_output)
        self._reading = source.data_recipe().data
        self._options = options
        self._labelled = False
        self._scores: _Scores | None = None

    def windows(self, files: InputFiles) -> Iterator[Window[InputText]]:
        return text_windows(
            files,
            self._reading,
            is_label=self._labels.__contains__,
            window=self._options.window,
        )

    def columns(self, first: Window[InputText]) -> tuple[str, ...]:
        self._labelled = any(one.label is not None for one in first.inputs)
        return ("prediction", *(("label",) if self._labelled else ()))

    def predict(self, inputs: Sequence[InputText]) -> list[Prediction]:
        found = [self._prediction(one, None) for one in inputs]
        labels, numbers = [], []
        for batch in self._model.outputs(inputs):
            for index, number in zip(
                batch.indices.tolist(), batch.values[:, 0].tolist(), strict=True
            ):
                label = inputs[index].label
                found[index] = self._prediction(inputs[index], number)
                if label is not None and label in self._labels:
                    labels.append(float(label))
                    numbers.append(number)
        self._score(labels, numbers)
        return found

    def _score(self, labels: Sequence[float], numbers: Sequence[float]) -> None:
        if not labels:
            return
        self._scores = self._scores or _Scores()
        self._scores.add(labels, numbers)

    def _prediction(self, one: InputText, number: float | None) -> Prediction:
        values: dict[str, object] = {"prediction": number}
        if one.label is not None:
            values["label"] = one.label
        cell = "" if number is None else f"{number:.6g}"
        return Prediction(values, (cell, *((one.label or "",) if self._labelled else ())))

    def notes(self) -> list[str]:
        return [*self._model.notes(), *([str(self._scores)] if self._scores else [])]


class _Scores:
    """Correlation and error of pairs of numbers, which are not kept."""

    def __init__(self) -> None:
        # Takes two seconds, which a file without labels need not wait.
        from torchmetrics import MeanSquaredError, PearsonCorrCoef

        self._correlation = PearsonCorrCoef().set_dtype(torch.float64)
        self._error = MeanSquaredError().set_dtype(torch.float64)
        self._count = 0

    def add(self, labels: Sequence[float], numbers: Sequence[float]) -> None:
        """Add labels and their predictions."""
        true, predicted = (torch.tensor(one, dtype=torch.float64) for one in (labels, numbers))
        self._correlation.update(predicted, true)
        self._error.update(predicted, true)
        self._count += len(labels)

    def __str__(self) -> str:
        with warnings.catch_warnings():
            # Of a constant series, whose correlation is NaN.
            warnings.simplefilter("ignore", UserWarning)
            correlation = float(self._correlation.compute()) if self._count > 1 else math.nan
        shown = correlation if math.isfinite(correlation) else 0.0
        return (
            f"Pearson correlation {shown:.5f}, mean squared error "
            f"{float(self._error.compute()):.5f} on {counted(self._count, 'label')}"
        )
