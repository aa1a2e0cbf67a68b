"""Texts that are embedded one by one: options, examples, rows and head of `embedding`.

Reimers and Gurevych 2019 (Sentence-BERT), Gao et al. 2021 (SimCSE), Kusupati et al. 2022
(Matryoshka representations). The losses are those of sentence-transformers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ptm.arrays import I64
from ptm.component import Listed, PositiveFloat, PositiveInt
from ptm.components.objectives.base import (
    EXAMPLE_NUMBERS,
    BatchView,
    MicroBatch,
    Objective,
    RandomSource,
)
from ptm.components.objectives.class_labels import Labels, Names, check_names, label_set
from ptm.components.objectives.embedding_batches import place_texts
from ptm.data.documents import Documents
from ptm.data.examples import Examples, ExamplesType, TokenSpans
from ptm.data.labelled import LabelledTexts
from ptm.data.packing import RowSize
from ptm.data.placement import Placement
from ptm.data.text_groups import repeated_texts, text_groups
from ptm.errors import UserError
from ptm.nn.model_shape import ANCHOR, NEGATIVE, ModelShape, Pooling
from ptm.plan import Operation
from ptm.text.labels import LabelSet, NumberLabels
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    pass

Loss = Literal["multiple_negatives_ranking", "cosine_similarity", "softmax", "simcse"]
_LAYOUTS: Mapping[Loss, tuple[str, ...]] = {
    "multiple_negatives_ranking": ("pairs", "triplets"),
    "cosine_similarity": ("labelled",),
    "softmax": ("labelled",),
    "simcse": ("documents", "sentences"),
}
_OPTIONS: Mapping[str, tuple[Loss, ...]] = {
    "temperature": ("multiple_negatives_ranking", "simcse"),
    "labels": ("softmax",),
    "ignored_labels": ("softmax",),
    "score_range": ("cosine_similarity",),
    "matryoshka": ("multiple_negatives_ranking", "cosine_similarity", "simcse"),
}
"""Options that only some losses have."""
ROLES, HASHES, LABELS = "text_roles", "text_hashes", "text_labels"


class EmbeddedTexts(Objective):
    """Base class of `Embedding`: everything but its losses and scores."""

    loss: Loss = "multiple_negatives_ranking"
    """multiple_negatives_ranking: each anchor is to be closer to its positive than to all other
    positives and negatives of the global batch (layouts `pairs` and `triplets`).
    cosine_similarity: the mean squared error of the cosine of scored pairs (`labelled`, the label
    is the score). softmax: the class of a pair from u, v and |u - v| (`labelled`). simcse: each
    text is its own positive, under another dropout mask (`documents` and `sentences`)."""
    pooling: Pooling = "mean"
    """How the vectors of a text become one: that of its first or last token, or the mean or maximum
    over all its tokens, special tokens included."""
    normalize: bool = False
    """Whether embeddings have length 1. Cosines do not change by it."""
    temperature: PositiveFloat | None = None
    """The divisor of the cosines in multiple_negatives_ranking and simcse, which sentence-
    transformers gives as its inverse, the scale; default: 0.05."""
    labels: Labels | None = None
    """The classes of `softmax`: their number, or the list of their names."""
    ignored_labels: Names = ()
    """Labels of `softmax` whose pairs `ptm preprocess` leaves out and counts."""
    score_range: Annotated[tuple[float, float], Listed] | None = None
    """The lowest and the highest score of `cosine_similarity`, which become the cosines 0 and 1;
    default: [0, 1]. Other scores are errors."""
    matryoshka: Annotated[tuple[PositiveInt, ...], Listed] = ()
    """Sizes to which embeddings can be cut, such as [256, 128]. The loss is the sum over them and
    the whole embedding, and each has scores of its own."""
    max_length: Annotated[int, Field(ge=4)] | None = None
    """Tokens of the longest text, special tokens included; longer ones are cut at their ends.
    Default: what the row (`data.sequence_length`), which all texts of an example share, has room
    for."""

    index_type: ClassVar[ExamplesType] = LabelledTexts
    visibilities: ClassVar[tuple[str, ...]] = ("full", "causal")
    special_roles: ClassVar[tuple[str, ...]] = ("pad", "unk", "cls", "sep")
    perplexity_of: ClassVar[str | None] = None
    layouts_depend_on: ClassVar[str | None] = "loss"
    min_sequence_length: ClassVar[int] = 8
    view: ClassVar[BatchView] = BatchView()

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        for name, losses in _OPTIONS.items():
            if getattr(self, name) not in (None, ()) and self.loss not in losses:
                raise ValueError(
                    f"{name} is used only with loss = {' or '.join(losses)}, but loss = "
                    f"{self.loss}. Remove it"
                )
        if self.loss == "softmax":
            if self.labels is None:
                raise ValueError("loss = softmax needs labels: their number or their names")
            check_names(self._classes.names)
        if self.score_range is not None and self.score_range[0] >= self.score_range[1]:
            raise ValueError("score_range: the first number must be below the second")
        if list(self.matryoshka) != sorted(set(self.matryoshka), reverse=True):
            raise ValueError("matryoshka: the sizes must be different and descending")
        return self

    @property
    def layouts(self) -> tuple[str, ...]:  # type: ignore[override]
        return _LAYOUTS[self.loss]

    @property
    def compares_batch(self) -> bool:  # type: ignore[override]
        return self.loss in _OPTIONS["temperature"]

    @property
    def pipeline_obstacle(self) -> str | None:  # type: ignore[override]
        if not self.compares_batch:
            return None
        return (
            f"loss = {self.loss} compares all texts of a step, but a pipeline computes the loss of "
            "one micro-batch at a time"
        )

    def shape_obstacles(self, shape: ModelShape) -> Iterator[tuple[str, str]]:
        if self.matryoshka and self.matryoshka[0] >= shape.hidden_size:
            yield (
                "objective.matryoshka",
                f"{self.matryoshka[0]} is not smaller than the embedding, whose size is "
                f"model.encoder.hidden_size = {shape.hidden_size}. List smaller sizes only.",
            )

    def row_obstacle(self, size: RowSize) -> str | None:
        if self.max_length is None or self.max_length <= size.source:
            return None
        return (
            f"objective.max_length = {self.max_length} is larger than a row of {size.source} "
            f"tokens, so that no text can be as long. Set data.sequence_length: {self.max_length} "
            "or more, or lower objective.max_length."
        )

    def visibility_obstacle(self, visibility: str) -> str | None:
        if visibility == "causal" and self.pooling == "first":
            return (
                "pooling = first reads the first token, which depends on no other token if the "
                "encoder is causal. Set objective.pooling: last, mean or max."
            )
        return None

    def training_obstacles(
        self, *, dropout: float, rows: int, layout: str
    ) -> Iterator[tuple[str, str]]:
        if self.loss == "simcse" and not dropout:
            yield (
                "model.dropout",
                "is 0, but loss = simcse compares two dropout masks of the same text, which would "
                "be equal. Set model.dropout: 0.1.",
            )
        if self.compares_batch and rows < 2 and layout != "triplets":
            yield (
                "train.global_batch_size",
                f"{rows} leaves no negatives: with loss = {self.loss} they are the other texts of "
                "the batch. Set 2 or more.",
            )

    @property
    def _classes(self) -> LabelSet:
        return label_set(self.labels or (), ignored=self.ignored_labels)

    @property
    def label_set(self) -> LabelSet | None:
        if self.loss == "softmax":
            return self._classes
        if self.loss == "cosine_similarity":
            return NumberLabels(limits=self._score_range)
        return None

    @property
    def _score_range(self) -> tuple[float, float]:
        return self.score_range or (0.0, 1.0)

    @property
    def targets(self) -> tuple[str, ...]:  # type: ignore[override]
        own = (ROLES, HASHES) if self.compares_batch else (LABELS,)
        return (*own, EXAMPLE_NUMBERS)

    @property
    def ragged_tensors(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("text_positions", *self.targets)

    def has_head(self, names: Collection[str]) -> bool:
        return self.loss != "softmax" or "embedding_classifier.dense.weight" in names

    @property
    def needs_word_starts(self) -> bool:
        return False

    def row_lengths(self, examples: Examples) -> I64:
        assert isinstance(examples, LabelledTexts), "the index of this objective"
        parts = np.asarray(examples.part_lengths)
        return np.asarray(parts.sum(axis=1) + 2 * (parts > 0).sum(axis=1))[:, None]

    @property
    def index_key(self) -> str:
        kind = "repeated" if self.loss == "simcse" else "groups"
        return f"embedding-{kind}-{self.max_length}"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Return all groups of texts; what does not fit is cut off at the ends of the texts.

        Raises UserError if a labelled corpus has no pairs, or an example has too many texts.
        """
        make = repeated_texts if self.loss == "simcse" else text_groups
        found = make(documents, size.source, longest=self.max_length)
        texts = found.part_lengths.shape[1]
        if self.loss != "simcse" and texts < 2:
            raise UserError(
                f"{documents.store.folder}: the corpus has single texts, but objective.loss = "
                f"{self.loss} compares the two texts of a pair. Give each line two texts, or set "
                "objective.loss: simcse with data.layout: documents."
            )
        if found.part_lengths.size and int(self.row_lengths(found).max()) > size.source:
            raise UserError(
                f"{documents.store.folder}: an example has {texts} texts, which a row of "
                f"data.sequence_length = {size.source} tokens has no room for. Set "
                f"data.sequence_length: {4 * texts} or more, or give fewer negatives."
            )
        return found

    def predictions_expected(self, examples: Examples) -> int:
        assert isinstance(examples, LabelledTexts), "the index of this objective"
        texts = int(np.count_nonzero(examples.part_lengths))
        return texts if self.compares_batch else texts // 2

    def collate(
        self,
        texts: TokenSpans,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        random_source: RandomSource,
    ) -> MicroBatch:
        """Return the tensors of [CLS] text [SEP], each text with positions of its own.

        The texts of an example follow each other, the anchor before its positive.
        """
        placed = place_texts(texts, placement, vocabularies.source, self.pooling)
        tensors = {
            **placed.tensors,
            "text_positions": placed.positions,
            EXAMPLE_NUMBERS: placed.numbers,
        }
        if self.compares_batch:
            tensors[ROLES] = np.minimum(placed.part + ANCHOR, NEGATIVE)
            tensors[HASHES] = placed.hashes
        else:
            assert texts.labels is not None, "scored and classified pairs have labels"
            tensors[LABELS] = texts.labels[placed.example]
        return MicroBatch(
            tensors=tensors,
            counts={"examples": placement.example.size},
            rows=placement.rows,
            examples=int(placement.example.size),
            tokens=int(placement.lengths.sum()),
        )

    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        """Return the head: hidden (B, T, D) -> embeddings (P, D), and logits for `softmax`."""
        from ptm.nn.example_pooling import PairClassifier, TextEmbedding

        embed = Operation(
            "text_embedding",
            partial(TextEmbedding, self.pooling, normalize=self.normalize),
            ("hidden", "example_ids", "text_positions"),
            ("embeddings",),
        )
        if self.loss != "softmax":
            return (embed,)
        classes = len(self._classes.names)
        classify = Operation(
            "embedding_classifier",
            partial(PairClassifier, shape.hidden_size, classes),
            ("embeddings",),
            ("pair_logits",),
        )
        return (embed, classify)

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("pair_logits",) if self.loss == "softmax" else ("embeddings",)
