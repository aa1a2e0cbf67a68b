"""Single tokens as noise (Raffel et al. 2019, 1910.10683, section 3.3.2)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ptm.arrays import I64, owner_of
from ptm.components.objectives.noise.noised_text import Spans, noise_token_counts
from ptm.components.objectives.noise.sampling import random_subset
from ptm.components.objectives.noise.spans import RateUpToHalf, SpanNoise
from ptm.rng import U64, substream

_PLACES = 3


class TokenSpans(SpanNoise):
    """Random single tokens; adjacent ones are merged into one span (Raffel et al. 2020, section
    3.3.2)."""

    spans: Literal["token"]
    rate: RateUpToHalf = 0.15
    """Share of the tokens that is noise."""

    def noise_counts(self, lengths: I64) -> I64:
        return noise_token_counts(lengths, self.rate)

    def max_spans(self, lengths: I64) -> I64:
        # No two noise tokens may be adjacent.
        return self.noise_counts(lengths)

    def draw(self, lengths: I64, keys: U64) -> Spans:
        noise = random_subset(substream(keys, _PLACES), lengths, self.noise_counts(lengths))
        owner = owner_of(lengths)
        # A span begins at every noise token that does not follow another one in its text.
        begins = noise.copy()
        begins[1:] &= ~(noise[:-1] & (owner[1:] == owner[:-1]))
        starts = np.flatnonzero(begins)
        sizes = np.bincount(np.cumsum(begins)[noise] - 1, minlength=starts.size)
        return Spans(owner[starts], starts, sizes.astype(np.int64))
