"""Noise spans of geometric length (SpanBERT, Joshi et al. 2019, section 3.1)."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ptm.arrays import I64, exclusive_cumsum, index_within, sum_before
from ptm.component import SpanLength
from ptm.components.objectives.noise.noised_text import Spans, noise_token_counts
from ptm.components.objectives.noise.sampling import (
    draw_span_lengths,
    geometric_table,
    random_subset,
)
from ptm.components.objectives.noise.spans import RateUpToHalf, SpanNoise
from ptm.rng import U64, substream

_LENGTHS, _PLACES = 2, 3


class GeometricSpans(SpanNoise):
    """Spans of truncated geometric length at random positions, no two adjacent."""

    spans: Literal["geometric"]
    rate: RateUpToHalf = 0.15
    """Share of the tokens that is noise."""
    geometric_p: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Parameter of the geometric distribution of span lengths."""
    max_length: SpanLength = 10
    """Longest span, in tokens."""

    def noise_counts(self, lengths: I64) -> I64:
        return noise_token_counts(lengths, self.rate)

    def max_spans(self, lengths: I64) -> I64:
        # Every span may have one token.
        return self.noise_counts(lengths)

    def draw(self, lengths: I64, keys: U64) -> Spans:
        noise_counts = self.noise_counts(lengths)
        table = geometric_table(self.geometric_p, self.max_length)
        owner, sizes = draw_span_lengths(substream(keys, _LENGTHS), noise_counts, table)
        # The kept tokens of a text leave (kept + 1) gaps, before, between and after them. Each span
        # goes into a gap of its own, so that no two spans touch.
        gaps = lengths - noise_counts + 1
        counts = np.bincount(owner, minlength=lengths.size)
        used = random_subset(substream(keys, _PLACES), gaps, counts)
        gap = index_within(np.repeat(np.arange(lengths.size), gaps))[used]
        # A span begins after `gap` kept tokens and the spans before it.
        first = exclusive_cumsum(lengths)
        return Spans(owner, first[owner] + gap + sum_before(sizes, owner), sizes)
