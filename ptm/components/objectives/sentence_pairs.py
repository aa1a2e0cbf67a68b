"""What objectives over pairs of sentences share: all but how documents become pairs.

Each example is [CLS] first [SEP] second [SEP] with masked tokens and one of two labels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ptm.arrays import I64
from ptm.component import Probability
from ptm.components.objectives.base import BatchView, Drawing, Metric, MicroBatch
from ptm.components.objectives.masked_tokens import (
    MASKED_METRICS,
    MASKED_PADDED,
    MASKED_ROLES,
    MASKED_TARGETS,
    MASKED_VIEW,
    MaskedObjective,
    MlmHead,
    masked_batch,
    masked_steps,
    masked_sums,
    surrounded_length,
)
from ptm.components.objectives.redraw import Redraw
from ptm.data.examples import Examples, ExamplesType, Texts
from ptm.data.pairs import Pairs
from ptm.data.placement import Placement
from ptm.errors import UserError
from ptm.nn.model_shape import ModelShape
from ptm.plan import Step
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    from torch import Tensor

SPECIALS_IN_A_PAIR = 3
"""[CLS] before the first half, [SEP] after each."""
_PAIR_TARGETS = ("pair_labels", "pair_weights")


def pair_metrics(name: str) -> tuple[Metric, ...]:
    """Those of masked tokens, and loss and accuracy of the pairs under `name`."""
    return (
        *MASKED_METRICS,
        Metric(f"{name}_loss", count="pairs", weight=1.0),
        Metric(f"{name}_accuracy", count="pairs", higher_is_better=True),
    )


class SentencePairs(Redraw, MaskedObjective):
    """Masked tokens, and two classes of pairs."""

    short_probability: Probability = 0.1
    """Share of the documents whose pairs are shorter than a row: their length is drawn."""
    head: MlmHead = MlmHead()

    pair_name: ClassVar[str]
    """What the metrics of the pairs begin with."""
    index_type: ClassVar[ExamplesType] = Pairs
    layouts: ClassVar[tuple[str, ...]] = ("sentences", "documents")
    visibilities: ClassVar[tuple[str, ...]] = ("full",)
    special_roles: ClassVar[tuple[str, ...]] = MASKED_ROLES
    targets: ClassVar[tuple[str, ...]] = (*MASKED_TARGETS, *_PAIR_TARGETS)
    padded: ClassVar[tuple[str, ...]] = (*MASKED_PADDED, "pair_positions", *_PAIR_TARGETS)
    segments: ClassVar[int] = 2
    perplexity_of: ClassVar[str | None] = "mlm_loss"
    view: ClassVar[BatchView] = replace(MASKED_VIEW, labels="pair_labels")
    needs_sentences: ClassVar[bool] = True
    shortest_row: ClassVar[int] = SPECIALS_IN_A_PAIR + 2

    def row_lengths(self, examples: Examples) -> I64:
        """Both halves and the special tokens around them."""
        return surrounded_length(examples.lengths, parts=2)[:, None]

    @property
    def index_drawings(self) -> int | None:
        """One an epoch, or as many as there are duplicates."""
        return None if self.dynamic else self.duplicates

    @property
    def index_key(self) -> str:
        """Masking is drawn later."""
        return f"{self.pair_name}-{self.short_probability!r}"

    def has_head(self, names: Collection[str]) -> bool:
        """Whether masked tokens are predicted; pairs alone are in no format."""
        if super().has_head(names):
            return True
        if "pair_classifier.weight" in names:
            raise UserError(
                "has a head of sentence pairs, but none of masked tokens; it can be exported with "
                "both or with neither."
            )
        return False

    def collate(
        self,
        texts: Texts,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        drawing: Drawing,
    ) -> MicroBatch:
        """[CLS] first [SEP] second [SEP], masked, at their places, and a label each."""
        assert texts.labels is not None, "pairs have labels"
        masked = masked_batch(
            texts, placement, self.masking, vocabulary=vocabularies.source, drawing=drawing
        )
        tensors = {
            **masked.tensors,
            "pair_positions": placement.first_cells,
            "pair_labels": texts.labels,
            "pair_weights": np.ones_like(texts.labels),
        }
        return replace(masked, tensors=tensors, counts={**masked.counts, "pairs": masked.examples})

    def steps(self, shape: ModelShape) -> tuple[Step, ...]:
        """hidden -> pair_logits (P, 2), logits (P, V)."""
        from ptm.nn.heads import pair_steps

        return (*pair_steps(shape), *masked_steps(self.head, shape))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Of the tokens and of the pairs."""
        return ("logits", "pair_logits")

    def sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Cross entropy and hits over the predicted positions, and over the pairs."""
        from ptm.nn.heads import class_sums

        loss, hits = class_sums(
            outputs["pair_logits"], tensors["pair_labels"], tensors["pair_weights"]
        )
        of_pairs = {f"{self.pair_name}_loss": loss, f"{self.pair_name}_accuracy": hits}
        return {**masked_sums(outputs, tensors), **of_pairs}
