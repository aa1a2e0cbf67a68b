"""T5's spans (Raffel et al. 2019, 1910.10683, section 3.1.4)."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ptm.arrays import I64, exclusive_cumsum, sum_before
from ptm.components.objectives.noise.noised_text import Spans, noise_token_counts
from ptm.components.objectives.noise.sampling import random_segmentation
from ptm.components.objectives.noise.spans import SpanNoise
from ptm.rng import U64, draws, substream, uniform

_NOISE, _REST, _ROLL = 0, 1, 4


class T5Spans(SpanNoise):
    """T5's `random_spans_noise_mask`: the number of spans depends on the text length only.

    Without `random_roll`, a text begins with a kept token and ends with noise. The span of a text
    that has only one is therefore at the end of the text in every epoch. A text of one token has no
    noise.
    """

    spans: Literal["t5"] = "t5"
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the tokens that is noise."""
    mean_length: Annotated[float, Field(ge=1)] = 3.0
    """Mean number of noise tokens per span."""
    random_roll: bool = False
    """Rotate the noise mask of a text by a random offset."""

    def noise_counts(self, lengths: I64) -> I64:
        return noise_token_counts(lengths, self.rate)

    def max_spans(self, lengths: I64) -> I64:
        # The rotation may cut one span in two.
        counts = self._counts(lengths)
        return np.minimum(counts + 1, self.noise_counts(lengths)) if self.random_roll else counts

    def _counts(self, lengths: I64) -> I64:
        noise_counts = self.noise_counts(lengths)
        spans = np.maximum(np.rint(noise_counts / self.mean_length).astype(np.int64), 1)
        return np.asarray(np.minimum(spans, np.minimum(noise_counts, lengths - noise_counts)))

    def draw(self, lengths: I64, keys: U64) -> Spans:
        # Noise and kept tokens are each cut into as many segments, which alternate.
        noise_counts, spans = self.noise_counts(lengths), self._counts(lengths)
        noise = random_segmentation(substream(keys, _NOISE), noise_counts, spans)
        rest = random_segmentation(substream(keys, _REST), lengths - noise_counts, spans)
        owner = np.repeat(np.arange(lengths.size), spans)
        first = exclusive_cumsum(lengths)
        # A span begins after the segments before it and its own kept segment.
        places = sum_before(rest + noise, owner) + rest
        if self.random_roll:
            point = uniform(draws(substream(keys, _ROLL), np.zeros(1, dtype=np.int64)))
            shift = (point * lengths).astype(np.int64)[owner]
            owner, places, noise = _roll_spans(owner, places, noise, shift, lengths[owner])
        return Spans(owner, first[owner] + places, noise)


def _roll_spans(
    owner: I64, places: I64, sizes: I64, shift: I64, lengths: I64
) -> tuple[I64, I64, I64]:
    """Rotate spans within their texts by `shift`; return owner, place and size of each, in order.

    All arrays have one entry per span (S). `places`: first tokens within the texts; `lengths`:
    lengths of the texts. A span that crosses the end of its text is cut, and the rest becomes a
    span at the beginning.
    """
    places = (places + shift) % lengths
    beyond = np.maximum(places + sizes - lengths, 0)
    cut = beyond > 0
    owner = np.concatenate([owner, owner[cut]])
    places = np.concatenate([places, np.zeros_like(beyond[cut])])
    sizes = np.concatenate([sizes - beyond, beyond[cut]])
    order = np.lexsort((places, owner))
    return owner[order], places[order], sizes[order]
