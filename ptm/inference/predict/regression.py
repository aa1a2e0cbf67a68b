"""Answers of a regression: one number for each text or pair."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

from ptm.components.objectives.regression import Regression
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


class RegressionPredictor(Predictor[InputText]):
    """Predicts numbers. Numbers in the files are repeated beside them, and correlated with them."""

    type: ClassVar[str] = "regression"

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
        self._moments = _Moments()

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
        for batch in self._model.outputs(inputs):
            for index, number in zip(
                batch.indices.tolist(), batch.values[:, 0].tolist(), strict=True
            ):
                label = inputs[index].label
                found[index] = self._prediction(inputs[index], number)
                if label is not None and label in self._labels:
                    self._moments.add(float(label), number)
        return found

    def _prediction(self, one: InputText, number: float | None) -> Prediction:
        values: dict[str, object] = {"prediction": number}
        if one.label is not None:
            values["label"] = one.label
        cell = "" if number is None else f"{number:.6g}"
        return Prediction(values, (cell, *((one.label or "",) if self._labelled else ())))

    def notes(self) -> list[str]:
        moments = self._moments
        if not moments.count:
            return self._model.notes()
        return [
            *self._model.notes(),
            f"Pearson correlation {moments.correlation:.5f}, mean squared error "
            f"{moments.mean_squared_error:.5f} on {moments.count:,} labels",
        ]


class _Moments:
    """Means, variances and the covariance of pairs of numbers, updated one pair at a time.

    Welford 1962: sums of squares would lose all digits of a small variance.
    """

    def __init__(self) -> None:
        self.count = 0
        self._means = [0.0, 0.0]
        self._squares = [0.0, 0.0]
        self._products = self._errors = 0.0

    def add(self, label: float, number: float) -> None:
        """Add a label and its prediction."""
        self.count += 1
        before = (label - self._means[0], number - self._means[1])
        self._means = [
            mean + apart / self.count for mean, apart in zip(self._means, before, strict=True)
        ]
        after = (label - self._means[0], number - self._means[1])
        self._squares = [
            total + first * second
            for total, first, second in zip(self._squares, before, after, strict=True)
        ]
        self._products += before[0] * after[1]
        self._errors += (label - number) ** 2

    @property
    def mean_squared_error(self) -> float:
        return self._errors / self.count

    @property
    def correlation(self) -> float:
        """Pearson's correlation; 0 if one of the series is constant."""
        scale = math.sqrt(self._squares[0] * self._squares[1])
        return self._products / scale if scale else 0.0
