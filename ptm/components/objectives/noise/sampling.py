"""Random choices for noise spans, vectorised over all examples of a batch.

Shapes: E examples. `keys` (E): one random stream per example (`ptm.rng`). Results of varying size
per example are ragged: one example after another in one array (`ptm.arrays`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, Flags, index_within, owner_of, sum_before
from ptm.components.objectives.masking.choosing import geometric_lengths
from ptm.rng import U64, draws, substream, uniform

_DRAW, _SHUFFLE = range(2)


def random_subset(keys: U64, sizes: I64, counts: I64) -> Flags:
    """Choose `counts` (E) of `sizes` (E) positions, all subsets equally likely.

    Returns flags over all positions, one example after another (sum of sizes).
    """
    owner = owner_of(sizes)
    # Choose the positions with the lowest random scores in each example.
    scores = draws(keys[owner], index_within(owner))
    chosen = np.zeros(owner.size, dtype=bool)
    chosen[np.lexsort((scores, owner))[index_within(owner) < counts[owner]]] = True
    return chosen


def random_segmentation(keys: U64, items: I64, segments: I64) -> I64:
    """Cut `items` (E) into `segments` (E) non-empty parts, all ways equally likely.

    Returns the lengths of the parts, one example after another (sum of segments). This is T5's
    `_random_segmentation`. Examples with 0 segments have no parts; all others need at least as many
    items as segments.
    """
    items = np.where(segments > 0, items, 0)
    # A new part may begin at any item but the first: choose segments - 1 of items - 1 positions.
    cut = random_subset(keys, np.maximum(items - 1, 0), segments - 1)
    first = np.cumsum(items)[segments > 0] - items[segments > 0]
    # `begins` flags the first item of every part: the first item of an example and the cuts.
    begins = np.ones(int(items.sum()), dtype=bool)
    inner = begins.copy()
    inner[first] = False
    begins[inner] = cut
    return np.diff(np.append(np.flatnonzero(begins), begins.size))


def poisson_table(mean: float) -> NDArray[np.float64]:
    """Return Poisson probabilities of lengths 0, 1, …, truncated where they are negligible."""
    lengths = np.arange(1, int(mean + 12 * np.sqrt(mean) + 20))
    logarithms = np.concatenate([[0.0], np.cumsum(np.log(mean / lengths))]) - mean
    return np.asarray(np.exp(logarithms) / np.exp(logarithms).sum())


def geometric_table(p: float, longest: int) -> NDArray[np.float64]:
    """Return probabilities of lengths 0, 1, …, `longest`: truncated geometric, 0 at length 0."""
    return np.concatenate([[0.0], geometric_lengths(p, longest)])


def draw_span_lengths(keys: U64, budgets: I64, table: NDArray[np.float64]) -> tuple[I64, I64]:
    """Draw span lengths that add up to exactly `budgets` (E) tokens in each example.

    `table`: probabilities of the lengths 0, 1, … Returns owner and length of every span (S).

    Lengths are drawn until the budget is reached, and the last is cut to it. At most as many spans
    are drawn as the budget has tokens, so that the input is never longer than the text; if they are
    too short together, the last is extended. Then the lengths of each example are shuffled.
    """
    # One draw per token of the budget; `point` selects a length by inverting the distribution.
    owner = owner_of(budgets)
    point = uniform(draws(substream(keys, _DRAW)[owner], index_within(owner)))
    lengths = np.searchsorted(np.cumsum(table)[:-1], point, side="right").astype(np.int64)
    # Keep the spans that begin before the budget is reached.
    before = sum_before(lengths, owner)
    used = before < budgets[owner]
    owner, lengths, before = owner[used], lengths[used], before[used]
    # The last span of each example takes the rest of the budget.
    last = np.append(owner[1:] != owner[:-1], True)[: owner.size]
    lengths[last] = (budgets[owner] - before)[last]
    scores = draws(substream(keys, _SHUFFLE)[owner], index_within(owner))
    return owner, lengths[np.lexsort((scores, owner))]
