"""Span corruption, the denoising of T5 (Raffel et al. 2019, 1910.10683, sections 3.1.4 and 3.3).

Each noise span becomes one sentinel in the encoder input. The decoder predicts every sentinel
followed by the tokens it replaces, and one closing sentinel. E texts, N tokens, S spans.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

import numpy as np
from pydantic import Field

from ptm.arrays import I64, exclusive_cumsum, index_within
from ptm.component import Config
from ptm.components.objectives.noise.noised_text import NoisedTexts, Spans, replace_spans
from ptm.rng import U64

RateUpToHalf = Annotated[float, Field(gt=0, le=0.5)]
"""At a higher rate, spans could not always be separated by a token."""


class SpanNoise(Config):
    """Base class of span noise: how the noise spans of a text are drawn."""

    spans: str

    @abstractmethod
    def noise_counts(self, lengths: I64) -> I64:
        """Return the number of noise tokens in texts of these lengths (E)."""

    @abstractmethod
    def max_spans(self, lengths: I64) -> I64:
        """Return the maximum number of spans in texts of these lengths (E)."""

    @abstractmethod
    def draw(self, lengths: I64, keys: U64) -> Spans:
        """Draw the spans of texts of these lengths (E); no two are adjacent."""

    def max_side_lengths(self, lengths: I64) -> I64:
        """Return the maximum tokens (E, 2) of source and target."""
        noise_counts, spans = self.noise_counts(lengths), self.max_spans(lengths)
        return np.stack([lengths - noise_counts + spans, noise_counts + spans + 1], axis=1)

    def max_sentinels(self, lengths: I64) -> I64:
        """Return the maximum number of sentinels that texts of these lengths (E) need."""
        return self.max_spans(lengths) + 1


def corrupt_spans(tokens: I64, lengths: I64, spans: Spans, sentinels: I64) -> NoisedTexts:
    """Return source and target of span corruption.

    `tokens` (N), `lengths` (E). `sentinels`: token ids in the order of use, more than any example
    has spans.
    """
    examples = lengths.size
    counts, noise_counts = spans.counts(examples), spans.noise_counts(examples)
    source, source_lengths = replace_spans(
        tokens, lengths, spans, sentinels[index_within(spans.owner)]
    )
    # Sentinels of the targets: one before every span, and one after the last span of an example.
    # `places`: the index of each in the noise tokens of all examples; `number`: its number within
    # the example. Closing sentinels go to the end of the example.
    owner = np.repeat(np.arange(examples), counts + 1)
    places = np.repeat(np.cumsum(noise_counts), counts + 1)
    number = index_within(owner)
    places[number < counts[owner]] = exclusive_cumsum(spans.lengths)
    target = np.insert(tokens[spans.tokens], places, sentinels[number])
    return NoisedTexts(source, source_lengths, target, noise_counts + counts + 1)
