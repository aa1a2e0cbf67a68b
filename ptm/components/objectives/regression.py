"""Regression of a number on texts and pairs of texts, such as the similarity of STS-B.

Devlin et al. 2018, section 4.1 (STS-B), with the head of `classification` and one output; the loss
is the mean squared error, as in transformers with `problem_type: regression`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from numpy.typing import NDArray

from ptm.components.objectives.base import EXAMPLE_NUMBERS, Metric, Score
from ptm.components.objectives.labelled_texts import LabelledObjective
from ptm.components.objectives.masked_tokens import MASKED_METRICS
from ptm.components.objectives.scores.correlation import pearson, spearman
from ptm.components.objectives.scores.diagnosis import Diagnosis, WorstExample, largest
from ptm.text.labels import LabelSet, NumberLabels, numbers_of

if TYPE_CHECKING:
    from torch import Tensor


class Regression(LabelledObjective):
    """Predict the number that is the label of a text, or of a pair of texts."""

    type: Literal["regression"]

    label_target: ClassVar[str] = "label_numbers"
    head_output: ClassVar[str] = "predicted_numbers"
    scores: ClassVar[tuple[Score, ...]] = (
        Score("pearson", higher_is_better=True),
        Score("spearman", higher_is_better=True),
    )

    @property
    def label_set(self) -> LabelSet:
        return NumberLabels()

    @property
    def head_size(self) -> int:
        return 1

    @property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        loss = Metric("regression_loss", count="examples", weight=1.0)
        return (loss, *(MASKED_METRICS if self.mlm else ()))

    def metric_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        import torch

        # The labels of a store are integers: here the bits of fp32 (`NumberLabels`).
        numbers = tensors[self.label_target].to(torch.int32).view(torch.float32)
        real = tensors[EXAMPLE_NUMBERS] != 0
        errors = (outputs[self.head_output][:, 0].float() - numbers).masked_fill(~real, 0.0)
        loss = errors.square().sum()
        return {"regression_loss": loss, **self.masked_sums(outputs, tensors)}

    def predictions(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the label of every example (P), as bits, and the predicted number (P)."""
        return {
            EXAMPLE_NUMBERS: tensors[EXAMPLE_NUMBERS],
            "label": tensors[self.label_target],
            "predicted": outputs[self.head_output][:, 0].float(),
        }

    def compute_scores(self, predictions: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        labels, predicted = numbers_of(predictions["label"]), predictions["predicted"]
        return {"pearson": pearson(labels, predicted), "spearman": spearman(labels, predicted)}

    def diagnosis(self, predictions: Mapping[str, NDArray[Any]]) -> Diagnosis:
        labels, predicted = numbers_of(predictions["label"]), predictions["predicted"]
        errors = (predicted - labels) ** 2
        worst = (
            WorstExample(
                at, f"{labels[at]:.6g}", f"{predicted[at]:.6g}", round(float(errors[at]), 5)
            )
            for at in largest(errors).tolist()
        )
        return Diagnosis(worst=tuple(worst))
