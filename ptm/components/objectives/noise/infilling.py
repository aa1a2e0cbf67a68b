"""Text infilling and sentence permutation: the noise of BART.

Lewis et al. 2019, 1910.13461, section 2.2.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ptm.arrays import I64, exclusive_cumsum, index_within, ragged_ranges, sum_before
from ptm.component import Config
from ptm.components.objectives.noise.drawing import (
    some_of,
    span_lengths,
)
from ptm.components.objectives.noise.noised_text import Noised, Spans, noise_tokens, replaced
from ptm.rng import U64, draws, substream

_ORDER, _LENGTHS, _PLACES = range(3)


class Infilling(Config):
    """Spans of a text, each replaced by one mask token: the part common to all lengths."""

    lengths: str
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the tokens that is hidden."""
    permute_sentences: bool = True

    @property
    @abstractmethod
    def table(self) -> NDArray[np.float64]:
        """Probabilities of the lengths 0, 1, …"""

    def longest_sides(self, lengths: I64) -> I64:
        """The most tokens (E, 2) that source and target can have: the text's own."""
        return np.stack([lengths, lengths], axis=1)

    def draw(self, lengths: I64, keys: U64) -> Spans:
        """Spans of texts of these lengths (E).

        Together they have exactly `rate` of the tokens. Any order of spans and kept tokens is
        equally likely; spans may stand side by side, and an empty one anywhere.
        """
        hidden = noise_tokens(lengths, self.rate)
        owner, sizes = span_lengths(substream(keys, _LENGTHS), hidden, self.table)
        counts = np.bincount(owner, minlength=lengths.size)
        slots = lengths - hidden + counts
        used = some_of(substream(keys, _PLACES), slots, counts)
        slot = index_within(np.repeat(np.arange(lengths.size), slots))[used]
        kept_before = slot - index_within(owner)
        first = exclusive_cumsum(lengths)
        return Spans(owner, first[owner] + kept_before + sum_before(sizes, owner), sizes)


def permuted(tokens: I64, parts: I64, keys: U64) -> I64:
    """The tokens (N) with the sentences of each text in random order.

    `parts` (E, K): tokens of the sentences of each, 0 where it has fewer.
    """
    lengths = parts.ravel()
    owner = np.repeat(np.arange(keys.size), parts.shape[1])
    scores = draws(substream(keys, _ORDER)[owner], index_within(owner))
    order = np.lexsort((scores, owner))
    starts = exclusive_cumsum(lengths)
    return np.asarray(tokens[ragged_ranges(starts[order], lengths[order])])


def infilled(tokens: I64, parts: I64, noise: Infilling, keys: U64, *, mask_id: int) -> Noised:
    """Source: the sentences permuted, then spans of them masked. Target: the text as it was.

    tokens (N), parts (E, K) as for `permuted`.
    """
    lengths = parts.sum(axis=1)
    shuffled = permuted(tokens, parts, keys) if noise.permute_sentences else tokens
    spans = noise.draw(lengths, keys)
    masks = np.full(spans.owner.size, mask_id, dtype=np.int64)
    source, source_lengths = replaced(shuffled, lengths, spans, masks)
    return Noised(source, source_lengths, tokens, lengths)
