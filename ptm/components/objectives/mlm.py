"""Masked language modelling: RoBERTa, BERT-WWM and SpanBERT differ in `masking` alone.

Devlin et al. 2018 (section 3.1), Liu et al. 2019 (section 4), Cui et al. 2019, Joshi et al. 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from ptm.arrays import I64
from ptm.components.objectives.base import Drawing, Metric, MicroBatch
from ptm.components.objectives.masked_tokens import (
    MASKED_METRICS,
    MASKED_PADDED,
    MASKED_ROLES,
    MASKED_TARGETS,
    MaskedObjective,
    MlmHead,
    masked_batch,
    masked_steps,
    masked_sums,
    surrounded_length,
)
from ptm.data.documents import Documents
from ptm.data.examples import (
    Examples,
    ExamplesType,
    Joined,
    Pieces,
    Texts,
    cut_documents,
    join_documents,
)
from ptm.data.packing import RowSize
from ptm.data.placement import Placement
from ptm.nn.model_shape import ModelShape
from ptm.plan import Step
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    from torch import Tensor

_AROUND = 2
"""[CLS] before and [SEP] after every text."""


class Mlm(MaskedObjective):
    """Predict the tokens that masking hides."""

    type: Literal["mlm"]
    full_sentences: bool = False
    """Join all documents with [SEP] and fill every row, instead of one document an example."""
    head: MlmHead = MlmHead()

    metrics: ClassVar[tuple[Metric, ...]] = MASKED_METRICS
    layouts: ClassVar[tuple[str, ...]] = ("documents", "sentences")
    visibilities: ClassVar[tuple[str, ...]] = ("full",)
    special_roles: ClassVar[tuple[str, ...]] = MASKED_ROLES
    targets: ClassVar[tuple[str, ...]] = MASKED_TARGETS
    padded: ClassVar[tuple[str, ...]] = MASKED_PADDED

    def row_lengths(self, examples: Examples) -> I64:
        """The text and the special tokens around it."""
        return surrounded_length(examples.lengths, parts=1)[:, None]

    @property
    def index_type(self) -> ExamplesType:  # type: ignore[override]
        """One of documents that are joined, or one of each by itself."""
        return Joined if self.full_sentences else Pieces

    @property
    def index_key(self) -> str:
        """Masking is drawn later: only the cutting matters."""
        return "joined" if self.full_sentences else "pieces"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Documents cut into pieces that fit a row, or joined and cut into full rows."""
        longest = size.source - _AROUND
        if self.full_sentences:
            separator = vocabularies.source.special_id("sep")
            return join_documents(*documents.ranges, longest, separator=separator)
        return cut_documents(*documents.ranges, longest)

    def collate(
        self,
        texts: Texts,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        drawing: Drawing,
    ) -> MicroBatch:
        """[CLS] text [SEP], masked, at their places."""
        return masked_batch(
            texts, placement, self.masking, vocabulary=vocabularies.source, drawing=drawing
        )

    def steps(self, shape: ModelShape) -> tuple[Step, ...]:
        """hidden -> logits (P, V) at the predicted positions."""
        return masked_steps(self.head, shape)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The logits alone."""
        return ("logits",)

    def sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Cross entropy and hits, summed over the predicted positions."""
        return masked_sums(outputs, tensors)
