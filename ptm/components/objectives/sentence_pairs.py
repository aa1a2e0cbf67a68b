"""Parts shared by the sentence-pair objectives: all except how documents become pairs.

Each example is [CLS] first [SEP] second [SEP] with masked tokens and a label, 0 or 1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ptm.arrays import I64
from ptm.component import Probability
from ptm.components.objectives.base import BatchView, Metric, MicroBatch, RandomSource
from ptm.components.objectives.masked_tokens import (
    MASKED_METRICS,
    MASKED_RAGGED,
    MASKED_ROLES,
    MASKED_TARGETS,
    MASKED_VIEW,
    MaskedObjective,
    MlmHead,
    length_with_special_tokens,
    masked_lm_batch,
    masked_lm_sums,
    masked_operations,
)
from ptm.components.objectives.redraw import Redraw
from ptm.data.examples import Examples, ExamplesType, TokenSpans
from ptm.data.pairs import Pairs
from ptm.data.placement import Placement
from ptm.errors import UserError
from ptm.nn.model_shape import ModelShape
from ptm.plan import Operation
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    from torch import Tensor

NUM_PAIR_SPECIALS = 3
"""Special tokens per example: [CLS] before the first half, [SEP] after each half."""
_PAIR_TARGETS = ("pair_labels", "pair_weights")


def pair_metrics(name: str) -> tuple[Metric, ...]:
    """Return the masked-token metrics, `<name>_loss` and `<name>_accuracy` of the pairs."""
    return (
        *MASKED_METRICS,
        Metric(f"{name}_loss", count="pairs", weight=1.0),
        Metric(f"{name}_accuracy", count="pairs", higher_is_better=True),
    )


class SentencePairs(Redraw, MaskedObjective):
    """Base class: predict masked tokens, and the label of a pair of text halves."""

    short_probability: Probability = 0.1
    """Share of the documents whose pairs get a random length below a full row."""
    head: MlmHead = MlmHead()

    metric_prefix: ClassVar[str]
    """Prefix of the names of the pair metrics."""
    index_type: ClassVar[ExamplesType] = Pairs
    layouts: ClassVar[tuple[str, ...]] = ("sentences", "documents")
    visibilities: ClassVar[tuple[str, ...]] = ("full",)
    special_roles: ClassVar[tuple[str, ...]] = MASKED_ROLES
    targets: ClassVar[tuple[str, ...]] = (*MASKED_TARGETS, *_PAIR_TARGETS)
    ragged_tensors: ClassVar[tuple[str, ...]] = (*MASKED_RAGGED, "pair_positions", *_PAIR_TARGETS)
    segments: ClassVar[int] = 2
    perplexity_of: ClassVar[str | None] = "mlm_loss"
    view: ClassVar[BatchView] = replace(MASKED_VIEW, labels="pair_labels")
    needs_sentences: ClassVar[bool] = True
    min_sequence_length: ClassVar[int] = NUM_PAIR_SPECIALS + 2

    def row_lengths(self, examples: Examples) -> I64:
        return length_with_special_tokens(examples.lengths, parts=2)[:, None]

    @property
    def index_variants(self) -> int | None:
        return None if self.dynamic else self.duplicates

    @property
    def index_key(self) -> str:
        return f"{self.metric_prefix}-{self.short_probability!r}"

    def has_head(self, names: Collection[str]) -> bool:
        """Return whether the masked-LM head exists. Raises UserError for a pair head alone."""
        if super().has_head(names):
            return True
        if "pair_classifier.weight" in names:
            raise UserError(
                "the model has a sentence-pair head but no masked-token head. A model can be "
                "exported with both heads or with neither."
            )
        return False

    def collate(
        self,
        texts: TokenSpans,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        random_source: RandomSource,
    ) -> MicroBatch:
        """Return the tensors of [CLS] first [SEP] second [SEP], masked, and the pair labels."""
        assert texts.labels is not None, "pairs have labels"
        masked = masked_lm_batch(
            texts,
            placement,
            self.masking,
            vocabulary=vocabularies.source,
            random_source=random_source,
        )
        tensors = {
            **masked.tensors,
            "pair_positions": placement.first_cells,
            "pair_labels": texts.labels,
            "pair_weights": np.ones_like(texts.labels),
        }
        return replace(masked, tensors=tensors, counts={**masked.counts, "pairs": masked.examples})

    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        """Return both heads: hidden (B, T, D) -> pair_logits (P, 2), logits (P, V)."""
        from ptm.nn.heads import pair_operations

        return (*pair_operations(shape), *masked_operations(self.head, shape))

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("logits", "pair_logits")

    def metric_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        from ptm.nn.heads import class_sums

        loss, hits = class_sums(
            outputs["pair_logits"], tensors["pair_labels"], tensors["pair_weights"]
        )
        of_pairs = {f"{self.metric_prefix}_loss": loss, f"{self.metric_prefix}_accuracy": hits}
        return {**masked_lm_sums(outputs, tensors), **of_pairs}
