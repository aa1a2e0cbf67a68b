"""Span corruption, the denoising of T5 (Raffel et al. 2019, 1910.10683, sections 3.1.4 and 3.3).

Each span of noise becomes one sentinel in the encoder's input; the decoder gives every sentinel
followed by the tokens it stands for, and one more sentinel after the last.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ptm.arrays import I64, exclusive_cumsum, index_within, owner_of, sum_before
from ptm.component import Config, PositiveInt
from ptm.components.objectives.noise.base import Noised, Spans, noise_tokens, replaced
from ptm.components.objectives.noise.drawing import (
    compositions,
    geometric_table,
    some_of,
    span_lengths,
)
from ptm.rng import U64, draws, substream, uniform

_NOISE, _REST, _LENGTHS, _PLACES, _ROLL = range(5)

HalfAtMost = Annotated[float, Field(gt=0, le=0.5)]
"""With more, there would not always be a token between two spans."""


class SpanNoise(Config):
    """Which stretches of a text are noise: the part common to all ways of drawing them."""

    spans: str

    @abstractmethod
    def hidden(self, lengths: I64) -> I64:
        """Tokens of noise in texts of these lengths (E)."""

    @abstractmethod
    def most_spans(self, lengths: I64) -> I64:
        """The most spans that texts of these lengths (E) can have."""

    @abstractmethod
    def draw(self, lengths: I64, keys: U64) -> Spans:
        """The spans of texts of these lengths (E), no two of which touch."""

    def longest_sides(self, lengths: I64) -> I64:
        """The most tokens (E, 2) that source and target can have."""
        hidden, spans = self.hidden(lengths), self.most_spans(lengths)
        return np.stack([lengths - hidden + spans, hidden + spans + 1], axis=1)

    def most_sentinels(self, lengths: I64) -> I64:
        """The most sentinels that texts of these lengths (E) can need."""
        return self.most_spans(lengths) + 1


class PaperSpans(SpanNoise):
    """As many spans as the text's length says, cut at random (T5's `random_spans_noise_mask`).

    A text begins with a token that is kept and ends with noise (so that the noise of a text short
    enough for one span is its end in every epoch), but for `random_roll`. One of one token has no
    noise.
    """

    spans: Literal["paper"] = "paper"
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the tokens that is noise."""
    mean_length: Annotated[float, Field(ge=1)] = 3.0
    """Tokens of noise in a span, on average."""
    random_roll: bool = False
    """Whether the noise is shifted around the text by a random distance."""

    def hidden(self, lengths: I64) -> I64:
        """Exactly so many."""
        return noise_tokens(lengths, self.rate)

    def most_spans(self, lengths: I64) -> I64:
        """Exactly so many; a shift may cut one in two."""
        counts = self._counts(lengths)
        return np.minimum(counts + 1, self.hidden(lengths)) if self.random_roll else counts

    def _counts(self, lengths: I64) -> I64:
        hidden = self.hidden(lengths)
        spans = np.maximum(np.rint(hidden / self.mean_length).astype(np.int64), 1)
        return np.asarray(np.minimum(spans, np.minimum(hidden, lengths - hidden)))

    def draw(self, lengths: I64, keys: U64) -> Spans:
        """Noise and the rest are each cut into so many stretches, which take turns."""
        hidden, spans = self.hidden(lengths), self._counts(lengths)
        noise = compositions(substream(keys, _NOISE), hidden, spans)
        rest = compositions(substream(keys, _REST), lengths - hidden, spans)
        owner = np.repeat(np.arange(lengths.size), spans)
        first = exclusive_cumsum(lengths)
        places = sum_before(rest + noise, owner) + rest
        if self.random_roll:
            point = uniform(draws(substream(keys, _ROLL), np.zeros(1, dtype=np.int64)))
            shift = (point * lengths).astype(np.int64)[owner]
            owner, places, noise = _rolled(owner, places, noise, shift, lengths[owner])
        return Spans(owner, first[owner] + places, noise)


def _rolled(owner: I64, places: I64, sizes: I64, shift: I64, lengths: I64) -> tuple[I64, I64, I64]:
    """Spans at `places` within texts of these `lengths`, shifted; all arrays are one a span (S).

    What goes beyond the end of a text comes in at its beginning.
    """
    places = (places + shift) % lengths
    beyond = np.maximum(places + sizes - lengths, 0)
    cut = beyond > 0
    owner = np.concatenate([owner, owner[cut]])
    places = np.concatenate([places, np.zeros_like(beyond[cut])])
    sizes = np.concatenate([sizes - beyond, beyond[cut]])
    order = np.lexsort((places, owner))
    return owner[order], places[order], sizes[order]


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


class TokenSpans(SpanNoise):
    """Tokens one by one; those that happen to stand together are one span (section 3.3.2)."""

    spans: Literal["token"]
    rate: HalfAtMost = 0.15
    """Share of the tokens that is noise."""

    def hidden(self, lengths: I64) -> I64:
        """Exactly so many."""
        return noise_tokens(lengths, self.rate)

    def most_spans(self, lengths: I64) -> I64:
        """If no two stand together."""
        return self.hidden(lengths)

    def draw(self, lengths: I64, keys: U64) -> Spans:
        """Runs of the tokens that are drawn."""
        noise = some_of(substream(keys, _PLACES), lengths, self.hidden(lengths))
        owner = owner_of(lengths)
        begins = noise.copy()
        begins[1:] &= ~(noise[:-1] & (owner[1:] == owner[:-1]))
        starts = np.flatnonzero(begins)
        sizes = np.bincount(np.cumsum(begins)[noise] - 1, minlength=starts.size)
        return Spans(owner[starts], starts, sizes.astype(np.int64))


AnySpanNoise = Annotated[PaperSpans | GeometricSpans | TokenSpans, Field(discriminator="spans")]


def corrupted(tokens: I64, lengths: I64, spans: Spans, sentinels: I64) -> Noised:
    """Source and target of span corruption; `sentinels`: their ids in the order of their use.

    tokens (N), lengths (E). There are more sentinels than any example has spans.
    """
    examples = lengths.size
    counts, hidden = spans.counts(examples), spans.hidden(examples)
    source, source_lengths = replaced(tokens, lengths, spans, sentinels[index_within(spans.owner)])
    # Before every span, and after the last of every example.
    owner = np.repeat(np.arange(examples), counts + 1)
    places = np.repeat(np.cumsum(hidden), counts + 1)
    number = index_within(owner)
    places[number < counts[owner]] = exclusive_cumsum(spans.lengths)
    target = np.insert(tokens[spans.tokens], places, sentinels[number])
    return Noised(source, source_lengths, target, hidden + counts + 1)
