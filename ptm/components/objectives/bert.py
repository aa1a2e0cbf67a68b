"""Masked tokens and next-sentence prediction (NSP), as in BERT.

Devlin et al. 2018, section 3.1 and appendix A.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from ptm.components.objectives.base import Metric
from ptm.components.objectives.sentence_pairs import NUM_PAIR_SPECIALS, SentencePairs, pair_metrics
from ptm.data.documents import Documents
from ptm.data.examples import Examples
from ptm.data.packing import RowSize
from ptm.data.pairing import next_sentence_pairs
from ptm.text.vocabulary import Vocabularies


class Bert(SentencePairs):
    """Predict masked tokens, and whether the second half follows the first (0) or is random (1)."""

    type: Literal["bert"]

    metric_prefix: ClassVar[str] = "nsp"
    metrics: ClassVar[tuple[Metric, ...]] = pair_metrics("nsp")

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Return chunks of sentences; half of them get a second half from another document."""
        return next_sentence_pairs(
            documents,
            longest=size.source - NUM_PAIR_SPECIALS,
            short_probability=self.short_probability,
            seed=seed,
        )
