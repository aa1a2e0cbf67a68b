"""Span corruption, the denoising of T5 (Raffel et al. 2019, 1910.10683, sections 3.1.4 and 3.3).

Each span of noise becomes one sentinel in the encoder's input; the decoder gives every sentinel
followed by the tokens it stands for, and one more sentinel after the last.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

import numpy as np
from pydantic import Field

from ptm.arrays import I64, exclusive_cumsum, index_within
from ptm.component import Config
from ptm.components.objectives.noise.noised_text import Noised, Spans, replaced
from ptm.rng import U64

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
