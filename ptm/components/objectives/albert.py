"""Masked tokens and sentence-order prediction (SOP), as in ALBERT.

Lan et al. 2019, section 3.1.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from ptm.components.objectives.base import Metric
from ptm.components.objectives.sentence_pairs import NUM_PAIR_SPECIALS, SentencePairs, pair_metrics
from ptm.data.documents import Documents
from ptm.data.examples import Examples
from ptm.data.packing import RowSize
from ptm.data.pairing import sentence_order_pairs
from ptm.text.vocabulary import Vocabularies


class Albert(SentencePairs):
    """Predict masked tokens, and whether the halves of a pair are in order (0) or swapped (1)."""

    type: Literal["albert"]

    metric_prefix: ClassVar[str] = "sop"
    metrics: ClassVar[tuple[Metric, ...]] = pair_metrics("sop")

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Return chunks of sentences cut into two halves; half of the chunks have them swapped."""
        return sentence_order_pairs(
            documents,
            longest=size.source - NUM_PAIR_SPECIALS,
            short_probability=self.short_probability,
            seed=seed,
        )
