"""Classification of texts and of pairs of texts, optionally with masked-token prediction.

Devlin et al. 2018, section 4.1; the head of UER-py's classifiers: dense, tanh, dense.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from ptm.arrays import I64
from ptm.components.objectives.base import EXAMPLE_NUMBERS, BatchView, Metric, Score
from ptm.components.objectives.class_labels import (
    ClassWeights,
    Labels,
    Names,
    check_names,
    label_set,
    weight_of_each,
)
from ptm.components.objectives.labelled_texts import LabelledObjective
from ptm.components.objectives.masked_tokens import MASKED_METRICS
from ptm.components.objectives.scores.class_scores import (
    f1_of,
    macro_f1,
    matthews_correlation,
    micro_f1,
)
from ptm.components.objectives.scores.diagnosis import (
    Diagnosis,
    WorstExample,
    confusions,
    largest,
    scores_of_classes,
)
from ptm.text.labels import LabelSet

if TYPE_CHECKING:
    from torch import Tensor


class Classification(LabelledObjective):
    """Predict the label of a text, or of a pair of texts."""

    type: Literal["classification"]
    labels: Labels
    """The number of labels N, if the corpus has the labels 0 to N - 1, or the list of their
    names."""
    ignored_labels: Names = ()
    """Labels of a corpus whose examples `ptm preprocess` leaves out and counts, such as the `-` of
    OCNLI, whose annotators disagreed."""
    class_weights: ClassWeights | None = None
    """Weight of each label in the loss, as a list in the order of `labels` or by name. The loss is
    the weighted mean over the global batch: the sum of weight times cross entropy, divided by the
    sum of the weights."""

    label_target: ClassVar[str] = "class_labels"
    head_output: ClassVar[str] = "class_logits"

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        check_names(self.label_set.names)
        both = sorted(set(self.ignored_labels) & set(self.label_set.names))
        if both:
            raise ValueError(
                f'ignored_labels: "{both[0]}" is one of labels too. Remove one of them'
            )
        weight_of_each(self.class_weights, self.label_set.names)
        return self

    @property
    def label_set(self) -> LabelSet:
        return label_set(self.labels, ignored=self.ignored_labels)

    @property
    def _weights(self) -> tuple[float, ...]:
        """The weight of each class."""
        return weight_of_each(self.class_weights, self.label_set.names)

    @property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        count = "examples" if self.class_weights is None else "example_weights"
        return (
            Metric("classification_loss", count=count, weight=1.0),
            Metric("accuracy", count="examples", higher_is_better=True),
            *(MASKED_METRICS if self.mlm else ()),
        )

    @property
    def scores(self) -> tuple[Score, ...]:  # type: ignore[override]
        names = ("macro_f1", "micro_f1", "matthews", *(("f1",) if self._is_binary else ()))
        return tuple(Score(name, higher_is_better=True) for name in names)

    @property
    def _is_binary(self) -> bool:
        return len(self.label_set.names) == 2

    @property
    def head_size(self) -> int:
        return len(self.label_set.names)

    @property
    def view(self) -> BatchView:  # type: ignore[override]
        return BatchView(hidden=super().view.hidden, labels=self.label_target)

    def label_counts(self, labels: I64) -> Mapping[str, float]:
        if self.class_weights is None:
            return {}
        return {"example_weights": float(np.array(self._weights)[labels].sum())}

    def metric_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        from ptm.nn.heads import class_sums

        loss, hits = class_sums(
            outputs["class_logits"],
            tensors["class_labels"],
            tensors[EXAMPLE_NUMBERS],
            class_weights=None if self.class_weights is None else self._weights,
        )
        of_tokens = self.masked_sums(outputs, tensors)
        return {"classification_loss": loss, "accuracy": hits, **of_tokens}

    def predictions(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the true and the most likely class of every example (P), and its loss."""
        from torch.nn import functional as F

        logits, labels = outputs["class_logits"].float(), tensors["class_labels"]
        return {
            EXAMPLE_NUMBERS: tensors[EXAMPLE_NUMBERS],
            "label": labels,
            "predicted": logits.argmax(dim=-1),
            "loss": F.cross_entropy(logits, labels, reduction="none"),
        }

    def compute_scores(self, predictions: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        labels, predicted = predictions["label"], predictions["predicted"]
        scores = {
            "macro_f1": macro_f1(labels, predicted),
            "micro_f1": micro_f1(labels, predicted),
            "matthews": matthews_correlation(labels, predicted),
        }
        if self._is_binary:
            scores["f1"] = f1_of(1, labels, predicted)
        return scores

    def diagnosis(self, predictions: Mapping[str, NDArray[Any]]) -> Diagnosis:
        labels, predicted, loss = (predictions[key] for key in ("label", "predicted", "loss"))
        names = self.label_set.names
        worst = (
            WorstExample(
                at, names[int(labels[at])], names[int(predicted[at])], round(float(loss[at]), 5)
            )
            for at in largest(loss).tolist()
        )
        return Diagnosis(
            scores_of_classes(names, labels, predicted),
            confusions(names, labels, predicted),
            tuple(worst),
        )
