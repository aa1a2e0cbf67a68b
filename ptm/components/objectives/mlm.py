"""Masked language modelling: RoBERTa, BERT-WWM and SpanBERT differ only in `masking`.

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
"""Special tokens per example: [CLS] before and [SEP] after the text."""


class Mlm(MaskedObjective):
    """Predict masked tokens."""

    type: Literal["mlm"]
    full_sentences: bool = False
    """Join all documents with [SEP] and fill every row, instead of one document per example."""
    head: MlmHead = MlmHead()

    metrics: ClassVar[tuple[Metric, ...]] = MASKED_METRICS
    layouts: ClassVar[tuple[str, ...]] = ("documents", "sentences")
    visibilities: ClassVar[tuple[str, ...]] = ("full",)
    special_roles: ClassVar[tuple[str, ...]] = MASKED_ROLES
    targets: ClassVar[tuple[str, ...]] = MASKED_TARGETS
    padded: ClassVar[tuple[str, ...]] = MASKED_PADDED

    def row_lengths(self, examples: Examples) -> I64:
        return surrounded_length(examples.lengths, parts=1)[:, None]

    @property
    def index_type(self) -> ExamplesType:  # type: ignore[override]
        return Joined if self.full_sentences else Pieces

    @property
    def index_key(self) -> str:
        # Masks are drawn later and do not depend on the index.
        return "joined" if self.full_sentences else "pieces"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Return documents cut into chunks of at most a row, or concatenated and cut into rows."""
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
        """Return the tensors of [CLS] text [SEP], masked."""
        return masked_batch(
            texts, placement, self.masking, vocabulary=vocabularies.source, drawing=drawing
        )

    def steps(self, shape: ModelShape) -> tuple[Step, ...]:
        """Return the masked-LM head: hidden (B, T, D) -> logits (P, V)."""
        return masked_steps(self.head, shape)

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("logits",)

    def sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        return masked_sums(outputs, tensors)
