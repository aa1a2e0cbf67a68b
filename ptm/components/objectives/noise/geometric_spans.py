"""Noise spans of geometric length (SpanBERT, Joshi et al. 2019, section 3.1)."""

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
    """Spans of truncated geometric length at random positions, no two adjacent."""

    spans: Literal["geometric"]
    rate: HalfAtMost = 0.15
    """Share of the tokens that is noise."""
    geometric_p: Annotated[float, Field(gt=0, lt=1)] = 0.2
    max_length: PositiveInt = 10

    def hidden(self, lengths: I64) -> I64:
        return noise_tokens(lengths, self.rate)

    def most_spans(self, lengths: I64) -> I64:
        # Every span may have one token.
        return self.hidden(lengths)

    def draw(self, lengths: I64, keys: U64) -> Spans:
        hidden = self.hidden(lengths)
        table = geometric_table(self.geometric_p, self.max_length)
        owner, sizes = span_lengths(substream(keys, _LENGTHS), hidden, table)
        # The kept tokens of a text leave (kept + 1) gaps, before, between and after them. Each span
        # goes into a gap of its own, so that no two spans touch.
        gaps = lengths - hidden + 1
        counts = np.bincount(owner, minlength=lengths.size)
        used = some_of(substream(keys, _PLACES), gaps, counts)
        gap = index_within(np.repeat(np.arange(lengths.size), gaps))[used]
        # A span begins after `gap` kept tokens and the spans before it.
        first = exclusive_cumsum(lengths)
        return Spans(owner, first[owner] + gap + sum_before(sizes, owner), sizes)
