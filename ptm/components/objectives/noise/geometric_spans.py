"""Spans of geometric lengths (SpanBERT, Joshi et al. 2019, section 3.1)."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ptm.arrays import I64, exclusive_cumsum, index_within, sum_before
from ptm.component import PositiveInt
from ptm.components.objectives.noise.drawing import (
    geometric_table,
    some_of,
    span_lengths,
)
from ptm.components.objectives.noise.noised_text import Spans, noise_tokens
from ptm.components.objectives.noise.spans import HalfAtMost, SpanNoise
from ptm.rng import U64, substream

_LENGTHS, _PLACES = 2, 3


class GeometricSpans(SpanNoise):
    """Spans of geometric lengths (SpanBERT, Joshi et al. 2019, section 3.1), anywhere."""

    spans: Literal["geometric"]
    rate: HalfAtMost = 0.15
    """Share of the tokens that is noise."""
    geometric_p: Annotated[float, Field(gt=0, lt=1)] = 0.2
    max_length: PositiveInt = 10

    def hidden(self, lengths: I64) -> I64:
        """Exactly so many: the last span that is drawn is cut."""
        return noise_tokens(lengths, self.rate)

    def most_spans(self, lengths: I64) -> I64:
        """If every span is of one token."""
        return self.hidden(lengths)

    def draw(self, lengths: I64, keys: U64) -> Spans:
        """Each span goes into one of the gaps between the tokens that stay."""
        hidden = self.hidden(lengths)
        table = geometric_table(self.geometric_p, self.max_length)
        owner, sizes = span_lengths(substream(keys, _LENGTHS), hidden, table)
        gaps = lengths - hidden + 1
        counts = np.bincount(owner, minlength=lengths.size)
        used = some_of(substream(keys, _PLACES), gaps, counts)
        gap = index_within(np.repeat(np.arange(lengths.size), gaps))[used]
        first = exclusive_cumsum(lengths)
        return Spans(owner, first[owner] + gap + sum_before(sizes, owner), sizes)
