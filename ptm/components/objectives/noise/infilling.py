"""Text infilling and sentence permutation: the noise of BART.

Lewis et al. 2019, 1910.13461, section 2.2. Shapes: E texts, K sentences per text at most, N tokens
of all texts.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ptm.arrays import I64, exclusive_cumsum, index_within, ragged_ranges, sum_before
from ptm.component import Config
from ptm.components.objectives.noise.noised_text import (
    NoisedTexts,
    Spans,
    noise_token_counts,
    replace_spans,
)
from ptm.components.objectives.noise.sampling import draw_span_lengths, random_subset
from ptm.rng import U64, draws, substream

_ORDER, _LENGTHS, _PLACES = range(3)


class Infilling(Config):
    """Base class of infilling: one mask token replaces each span of a text."""

    lengths: str
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the tokens that is masked."""
    permute_sentences: bool = True
    """Whether the order of sentences is shuffled."""

    @property
    @abstractmethod
    def table(self) -> NDArray[np.float64]:
        """Probabilities of the span lengths 0, 1, …"""

    def longest_sides(self, lengths: I64) -> I64:
        """Return the maximum tokens (E, 2) of source and target: those of the text."""
        return np.stack([lengths, lengths], axis=1)

    def draw(self, lengths: I64, keys: U64) -> Spans:
        """Draw the spans of texts of these lengths (E).

        Together they cover exactly `rate` of the tokens. All orders of spans and kept tokens are
        equally likely; spans may be adjacent, and empty spans may be anywhere.
        """
        noise_counts = noise_token_counts(lengths, self.rate)
        owner, sizes = draw_span_lengths(substream(keys, _LENGTHS), noise_counts, self.table)
        counts = np.bincount(owner, minlength=lengths.size)
        # A text is a sequence of slots, each a kept token or a span: choose the slots of the spans.
        slots = lengths - noise_counts + counts
        used = random_subset(substream(keys, _PLACES), slots, counts)
        slot = index_within(np.repeat(np.arange(lengths.size), slots))[used]
        # Slots before a span are kept tokens or earlier spans.
        kept_before = slot - index_within(owner)
        first = exclusive_cumsum(lengths)
        return Spans(owner, first[owner] + kept_before + sum_before(sizes, owner), sizes)


def shuffle_sentences(tokens: I64, parts: I64, keys: U64) -> I64:
    """Return the tokens (N) with the sentences of each text in random order.

    `parts` (E, K): tokens of each sentence, 0 after the last one.
    """
    lengths = parts.ravel()
    owner = np.repeat(np.arange(keys.size), parts.shape[1])
    scores = draws(substream(keys, _ORDER)[owner], index_within(owner))
    order = np.lexsort((scores, owner))
    starts = exclusive_cumsum(lengths)
    return np.asarray(tokens[ragged_ranges(starts[order], lengths[order])])


def infill(tokens: I64, parts: I64, noise: Infilling, keys: U64, *, mask_id: int) -> NoisedTexts:
    """Shuffle the sentences of each text, then mask spans. The target is the original text.

    `tokens` (N), `parts` (E, K): as for `shuffle_sentences`.
    """
    lengths = parts.sum(axis=1)
    shuffled = shuffle_sentences(tokens, parts, keys) if noise.permute_sentences else tokens
    spans = noise.draw(lengths, keys)
    masks = np.full(spans.owner.size, mask_id, dtype=np.int64)
    source, source_lengths = replace_spans(shuffled, lengths, spans, masks)
    return NoisedTexts(source, source_lengths, tokens, lengths)
