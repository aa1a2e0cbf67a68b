"""Random choices that span noise is made of, for all examples of a batch at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, Flags, index_within, owner_of, sum_before
from ptm.components.objectives.masking.choosing import geometric_lengths
from ptm.rng import U64, draws, substream, uniform

_DRAW, _SHUFFLE = range(2)


def some_of(keys: U64, sizes: I64, counts: I64) -> Flags:
    """`counts` (E) of `sizes` (E) places each, all choices equally likely: flags (sum of sizes)."""
    owner = owner_of(sizes)
    scores = draws(keys[owner], index_within(owner))
    chosen = np.zeros(owner.size, dtype=bool)
    chosen[np.lexsort((scores, owner))[index_within(owner) < counts[owner]]] = True
    return chosen


def compositions(keys: U64, items: I64, segments: I64) -> I64:
    """`items` (E) cut into so many `segments` (E), none empty, all ways equally likely.

    The lengths, one example after another (sum of segments): T5's `_random_segmentation`. Examples
    without segments have none; the others have items enough.
    """
    items = np.where(segments > 0, items, 0)
    cut = some_of(keys, np.maximum(items - 1, 0), segments - 1)
    first = np.cumsum(items)[segments > 0] - items[segments > 0]
    begins = np.ones(int(items.sum()), dtype=bool)
    inner = begins.copy()
    inner[first] = False
    begins[inner] = cut
    return np.diff(np.append(np.flatnonzero(begins), begins.size))


def poisson_table(mean: float) -> NDArray[np.float64]:
    """Probabilities of lengths 0, 1, …, as far as they matter."""
    lengths = np.arange(1, int(mean + 12 * np.sqrt(mean) + 20))
    logarithms = np.concatenate([[0.0], np.cumsum(np.log(mean / lengths))]) - mean
    return np.asarray(np.exp(logarithms) / np.exp(logarithms).sum())


def geometric_table(p: float, longest: int) -> NDArray[np.float64]:
    """Probabilities of lengths 0 (none), 1, …, `longest`: geometric, truncated."""
    return np.concatenate([[0.0], geometric_lengths(p, longest)])


def span_lengths(keys: U64, budgets: I64, table: NDArray[np.float64]) -> tuple[I64, I64]:
    """(owner, length) of spans that together have exactly `budgets` (E) tokens in each example.

    Lengths are drawn from `table` until the budget is reached, and the last is cut to it. No more
    spans are drawn than there are tokens to hide (so that the input is never longer than the
    text): if those many are too short, the last is made longer. Then they are shuffled.
    """
    owner = owner_of(budgets)
    point = uniform(draws(substream(keys, _DRAW)[owner], index_within(owner)))
    lengths = np.searchsorted(np.cumsum(table)[:-1], point, side="right").astype(np.int64)
    before = sum_before(lengths, owner)
    used = before < budgets[owner]
    owner, lengths, before = owner[used], lengths[used], before[used]
    last = np.append(owner[1:] != owner[:-1], True)[: owner.size]
    lengths[last] = (budgets[owner] - before)[last]
    scores = draws(substream(keys, _SHUFFLE)[owner], index_within(owner))
    return owner, lengths[np.lexsort((scores, owner))]
