"""Masked language modelling: RoBERTa, BERT-WWM and SpanBERT differ only in `masking`.

Devlin et al. 2018 (section 3.1), Liu et al. 2019 (section 4), Cui et al. 2019, Joshi et al. 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from ptm.arrays import I64
from ptm.components.objectives.base import Metric, MicroBatch, RandomSource
from ptm.components.objectives.masked_tokens import (
    MASKED_METRICS,
    MASKED_RAGGED,
    MASKED_ROLES,
    MASKED_TARGETS,
    MaskedObjective,
    MlmHead,
    length_with_special_tokens,
    masked_lm_batch,
    masked_lm_sums,
    masked_operations,
)
from ptm.data.documents import Documents
from ptm.data.examples import (
    ConcatenatedDocuments,
    DocumentChunks,
    Examples,
    ExamplesType,
    TokenSpans,
    chunk_documents,
    concatenate_documents,
)
from ptm.data.packing import RowSize
from ptm.data.placement import Placement
from ptm.nn.model_shape import ModelShape
from ptm.plan import Operation
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    from torch import Tensor

_NUM_SPECIALS = 2
"""Special tokens per example: [CLS] before and [SEP] after the text."""


class Mlm(MaskedObjective):
    """Predict masked tokens."""

    type: Literal["mlm"]
    concatenate: bool = False
    """Join all documents with [SEP] and fill every row, instead of one document per example."""
    head: MlmHead = MlmHead()

    metrics: ClassVar[tuple[Metric, ...]] = MASKED_METRICS
    layouts: ClassVar[tuple[str, ...]] = ("documents", "sentences")
    visibilities: ClassVar[tuple[str, ...]] = ("full",)
    special_roles: ClassVar[tuple[str, ...]] = MASKED_ROLES
    targets: ClassVar[tuple[str, ...]] = MASKED_TARGETS
    ragged_tensors: ClassVar[tuple[str, ...]] = MASKED_RAGGED

    def row_lengths(self, examples: Examples) -> I64:
        return length_with_special_tokens(examples.lengths, parts=1)[:, None]

    @property
    def index_type(self) -> ExamplesType:  # type: ignore[override]
        return ConcatenatedDocuments if self.concatenate else DocumentChunks

    @property
    def index_key(self) -> str:
        # Masks are drawn later and do not depend on the index.
        return "joined" if self.concatenate else "pieces"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Return documents cut into chunks of at most a row, or concatenated and cut into rows."""
        longest = size.source - _NUM_SPECIALS
        if self.concatenate:
            separator = vocabularies.source.special_id("sep")
            return concatenate_documents(*documents.ranges, longest, separator=separator)
        return chunk_documents(*documents.ranges, longest)

    def collate(
        self,
        texts: TokenSpans,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        random_source: RandomSource,
    ) -> MicroBatch:
        """Return the tensors of [CLS] text [SEP], masked."""
        return masked_lm_batch(
            texts,
            placement,
            self.masking,
            vocabulary=vocabularies.source,
            random_source=random_source,
        )

    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        """Return the masked-LM head: hidden (B, T, D) -> logits (P, V)."""
        return masked_operations(self.head, shape)

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("logits",)

    def metric_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        return masked_lm_sums(outputs, tensors)
