"""Classification of texts and pairs of texts that may have several labels, or none.

The head of `classification` with one sigmoid per label; the loss is the binary cross entropy, as in
transformers with `problem_type: multi_label_classification`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from numpy.typing import NDArray
from pydantic import Field, model_validator

from ptm.arrays import I64
from ptm.components.objectives.base import EXAMPLE_NUMBERS, BatchView, Metric, Score
from ptm.components.objectives.class_labels import (
    ClassWeights,
    Labels,
    check_names,
    label_set,
    weight_of_each,
)
from ptm.components.objectives.labelled_texts import LabelledObjective
from ptm.components.objectives.masked_tokens import MASKED_METRICS
from ptm.components.objectives.scores.class_scores import multi_label_f1
from ptm.data.examples import ExamplesType
from ptm.data.labelled import MultiLabelledTexts
from ptm.text.labels import MultiLabelSet

if TYPE_CHECKING:
    from torch import Tensor

LABEL_CELLS = "label_cells"
"""Name of the count of pairs of a text and a label, over which the loss is the mean."""


class MultiLabelClassification(LabelledObjective):
    """Predict which labels a text, or a pair of texts, has: any number of them."""

    type: Literal["multi_label_classification"]
    labels: Labels
    """The number of labels N, if the corpus has the labels 0 to N - 1, or the list of their
    names."""
    label_separator: Annotated[str, Field(min_length=1)] = ","
    """What separates the labels of a text in lines of text and in fields that are text. JSON lines
    and tables may have lists instead. A text without a label is allowed: its cell is empty."""
    class_weights: ClassWeights | None = None
    """Weight of each label in the loss of the texts that have it (`pos_weight` of torch), as a list
    in the order of `labels` or by name; above 1 for labels that few texts have."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Probability from which a label is predicted."""

    label_target: ClassVar[str] = "class_labels"
    head_output: ClassVar[str] = "class_logits"
    index_type: ClassVar[ExamplesType] = MultiLabelledTexts
    scores: ClassVar[tuple[Score, ...]] = (
        Score("micro_f1", higher_is_better=True),
        Score("macro_f1", higher_is_better=True),
    )

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        check_names(self.label_set.names)
        separator = self.label_separator
        if separator.strip("\t\r\n") != separator or not separator:
            raise ValueError("label_separator: a TAB or a line end separates columns or lines")
        for name in self.label_set.names:
            if separator in name:
                raise ValueError(
                    f'labels: "{name}" contains the separator of labels "{separator}". Set another '
                    "label_separator, and use it in the corpus"
                )
        weight_of_each(self.class_weights, self.label_set.names)
        return self

    @property
    def label_set(self) -> MultiLabelSet:
        declared = label_set(self.labels)
        return MultiLabelSet(declared.names, declared.numbered, separator=self.label_separator)

    @property
    def head_size(self) -> int:
        return len(self.label_set.names)

    @property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        return (
            Metric("classification_loss", count=LABEL_CELLS, weight=1.0),
            Metric("subset_accuracy", count="examples", higher_is_better=True),
            *(MASKED_METRICS if self.mlm else ()),
        )

    @property
    def view(self) -> BatchView:  # type: ignore[override]
        return BatchView(hidden=super().view.hidden, labels=self.label_target)

    @property
    def index_key(self) -> str:
        return f"multi_{super().index_key}"

    def label_counts(self, labels: I64) -> Mapping[str, float]:
        return {LABEL_CELLS: labels.size}

    def predicted(self, logits: Tensor) -> Tensor:
        """Whether each label is predicted, from logits of any shape."""
        return logits.detach().float().sigmoid() >= self.threshold

    def metric_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the sum of the binary cross entropies, and the texts with the right labels only.

        A sum over texts and labels (P, C), where the text is no padding.
        """
        from torch.nn import functional as F

        logits, labels = outputs[self.head_output].float(), tensors[self.label_target]
        real = tensors[EXAMPLE_NUMBERS] != 0
        weights = None
        if self.class_weights is not None:
            weights = logits.new_tensor(weight_of_each(self.class_weights, self.label_set.names))
        losses = F.binary_cross_entropy_with_logits(
            logits, labels.float(), pos_weight=weights, reduction="none"
        )
        right = (self.predicted(logits) == (labels != 0)).all(dim=-1) & real
        return {
            "classification_loss": losses.masked_fill(~real[:, None], 0.0).sum(),
            "subset_accuracy": right.sum().float(),
            **self.masked_sums(outputs, tensors),
        }

    def predictions(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the true and the predicted labels of every example (P, C), as flags."""
        return {
            EXAMPLE_NUMBERS: tensors[EXAMPLE_NUMBERS],
            "label": tensors[self.label_target] != 0,
            "predicted": self.predicted(outputs[self.head_output]),
        }

    def compute_scores(self, predictions: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        return multi_label_f1(predictions["label"], predictions["predicted"])
