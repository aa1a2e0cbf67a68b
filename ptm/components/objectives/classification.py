"""Classification of texts and of pairs of texts, optionally with masked-token prediction.

Devlin et al. 2018, section 4.1; the head of UER-py's classifiers: dense, tanh, dense.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from ptm.arrays import I64, exclusive_cumsum
from ptm.component import Config, PositiveFloat
from ptm.components.objectives.base import (
    EXAMPLE_NUMBERS,
    BatchView,
    Metric,
    MicroBatch,
    Objective,
    RandomSource,
    Score,
)
from ptm.components.objectives.class_labels import (
    ClassWeights,
    Labels,
    check_names,
    label_set,
    weight_of_each,
)
from ptm.components.objectives.class_scores import macro_f1
from ptm.components.objectives.masked_tokens import (
    MASKED_METRICS,
    MASKED_RAGGED,
    MASKED_TARGETS,
    MASKED_VIEW,
    MlmHead,
    add_special_tokens,
    length_with_special_tokens,
    masked_lm_batch,
    masked_lm_sums,
    masked_operations,
)
from ptm.components.objectives.masking import Masking
from ptm.components.objectives.masking.token import TokenMasking
from ptm.data.documents import Documents
from ptm.data.examples import Examples, ExamplesType, TokenSpans
from ptm.data.labelled import LabelledTexts, labelled_texts
from ptm.data.packing import RowSize
from ptm.data.placement import Placement, row_tensors
from ptm.nn.model_shape import ModelShape, Pooling
from ptm.plan import Operation
from ptm.text.labels import LabelSet
from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    from torch import Tensor

_CLASS_TARGETS = ("class_labels", EXAMPLE_NUMBERS)


class MlmTerm(Config):
    """Masked-token prediction beside the classification, on the same rows."""

    weight: PositiveFloat = 1.0
    """Weight of its loss; that of the classification is 1."""
    masking: Masking = TokenMasking()
    head: MlmHead = MlmHead()


class Classification(Objective):
    """Predict the label of a text, or of a pair of texts."""

    type: Literal["classification"]
    labels: Labels
    """The number of labels N, if the corpus has the labels 0 to N - 1, or the list of their
    names."""
    class_weights: ClassWeights | None = None
    """Weight of each label in the loss, as a list in the order of `labels` or by name. The loss is
    the weighted mean over the global batch: the sum of weight times cross entropy, divided by the
    sum of the weights."""
    pooling: Pooling = "first"
    """How the vectors of an example become one: that of its first or last token, or the mean or
    maximum over all its tokens, special tokens included."""
    mlm: MlmTerm | None = None
    """Also predict masked tokens. The classifier then reads the masked text."""

    index_type: ClassVar[ExamplesType] = LabelledTexts
    layouts: ClassVar[tuple[str, ...]] = ("labelled",)
    visibilities: ClassVar[tuple[str, ...]] = ("full", "causal")
    segments: ClassVar[int] = 2
    perplexity_of: ClassVar[str | None] = None
    scores: ClassVar[tuple[Score, ...]] = (Score("macro_f1", higher_is_better=True),)
    min_sequence_length: ClassVar[int] = 5

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        check_names(self.label_set.names)
        weight_of_each(self.class_weights, self.label_set.names)
        return self

    @property
    def label_set(self) -> LabelSet:
        return label_set(self.labels)

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

    def loss_weights(self, step: int) -> Mapping[str, float]:
        weights = super().loss_weights(step)
        return {**weights, "mlm_loss": self.mlm.weight} if self.mlm else weights

    @property
    def special_roles(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("pad", "unk", "cls", "sep", *(("mask",) if self.mlm else ()))

    @property
    def targets(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*_CLASS_TARGETS, *(MASKED_TARGETS if self.mlm else ()))

    @property
    def ragged_tensors(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("class_positions", *_CLASS_TARGETS, *(MASKED_RAGGED if self.mlm else ()))

    @property
    def view(self) -> BatchView:  # type: ignore[override]
        return BatchView(hidden=MASKED_VIEW.hidden if self.mlm else None, labels="class_labels")

    def visibility_obstacle(self, visibility: str) -> str | None:
        if visibility != "causal":
            return None
        if self.pooling == "first":
            return (
                "pooling = first reads the first token, which depends on no other token if the "
                "encoder is causal. Set objective.pooling: last, mean or max."
            )
        if self.mlm is not None:
            return (
                "mlm predicts masked tokens from both sides, but the encoder is causal. Remove "
                "objective.mlm, or make the encoder bidirectional."
            )
        return None

    def has_head(self, names: Collection[str]) -> bool:
        return "classifier.weight" in names

    @property
    def needs_word_starts(self) -> bool:
        return self.mlm is not None and self.mlm.masking.needs_word_starts

    @property
    def input_files(self) -> Mapping[str, str]:
        files = self.mlm.masking.input_files if self.mlm else {}
        return {f"mlm.masking.{field}": path for field, path in files.items()}

    @property
    def fingerprint(self) -> str:
        return self.mlm.masking.fingerprint if self.mlm else ""

    def with_files(self, tokenizer: Tokenizer) -> Self:
        if self.mlm is None:
            return self
        masking = self.mlm.masking.with_files(tokenizer)
        return self.model_copy(update={"mlm": self.mlm.model_copy(update={"masking": masking})})

    def row_lengths(self, examples: Examples) -> I64:
        assert isinstance(examples, LabelledTexts), "the index of this objective"
        parts = examples.part_lengths.shape[1]
        return length_with_special_tokens(examples.lengths, parts=parts)[:, None]

    @property
    def index_key(self) -> str:
        return "labelled"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Return all labelled texts; what does not fit into a row is cut off at their ends."""
        return labelled_texts(documents, size.source - 1, specials_per_text=1)

    def collate(
        self,
        texts: TokenSpans,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        random_source: RandomSource,
    ) -> MicroBatch:
        """Return the tensors of [CLS] a [SEP], or [CLS] a [SEP] b [SEP], and the labels."""
        assert texts.labels is not None, "labelled texts have labels"
        vocabulary = vocabularies.source
        counts: dict[str, float] = {"examples": placement.example.size}
        if self.class_weights is not None:
            counts["example_weights"] = float(np.array(self._weights)[texts.labels].sum())
        if self.mlm is not None:
            masked = masked_lm_batch(
                texts,
                placement,
                self.mlm.masking,
                vocabulary=vocabulary,
                random_source=random_source,
            )
            tensors = dict(masked.tensors)
            counts |= masked.counts
        else:
            whole, segments = add_special_tokens(texts, vocabulary)
            pad = vocabulary.special_id("pad")
            tensors = row_tensors(whole.ids, placement, pad=pad, segments=segments)
        last = exclusive_cumsum(placement.lengths) + placement.lengths - 1
        tensors |= {
            "class_positions": (
                placement.cells[last] if self.pooling == "last" else placement.first_cells
            ),
            "class_labels": texts.labels,
            EXAMPLE_NUMBERS: placement.example + 1,
        }
        return MicroBatch(
            tensors=tensors,
            counts=counts,
            rows=placement.rows,
            examples=int(placement.example.size),
            tokens=int(placement.lengths.sum()),
        )

    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        """Return the head: hidden (B, T, D) -> class_logits (P, C), and that of `mlm`."""
        from torch import nn

        from ptm.nn.example_pooling import ExamplePooler

        width = shape.hidden_size
        head = (
            Operation(
                "pooler",
                partial(ExamplePooler, width, self.pooling, dropout=shape.dropout),
                ("hidden", "example_ids", "class_positions"),
                ("pooled",),
            ),
            Operation(
                "classifier",
                partial(nn.Linear, width, len(self.label_set.names)),
                ("pooled",),
                ("class_logits",),
            ),
        )
        return (*head, *masked_operations(self.mlm.head, shape)) if self.mlm else head

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("class_logits", *(("logits",) if self.mlm else ()))

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
        of_tokens = masked_lm_sums(outputs, tensors) if self.mlm else {}
        return {"classification_loss": loss, "accuracy": hits, **of_tokens}

    def predictions(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the true and the most likely class of every example (P)."""
        return {
            EXAMPLE_NUMBERS: tensors[EXAMPLE_NUMBERS],
            "label": tensors["class_labels"],
            "predicted": outputs["class_logits"].argmax(dim=-1),
        }

    def compute_scores(self, predictions: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        return {"macro_f1": macro_f1(predictions["label"], predictions["predicted"])}
