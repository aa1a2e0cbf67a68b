"""Which tokens of an example are hidden, and what stands in their place: for a batch at once.

Everything here works on ragged arrays: the tokens of many examples one after another, `owner` (N)
telling which example each belongs to (ascending). Randomness is an argument: `keys` (one stream an
example), so the same example under the same key is masked alike in any batch. Only `maskable`
tokens are ever chosen or changed, and every example that has one gets at least one target.

Token: RoBERTa (Liu et al. 2019, section 4.1). Whole word: Cui et al. 2019. Span: SpanBERT (Joshi
et al. 2019, section 3.1). The 80/10/10 replacement: BERT (Devlin et al. 2018, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import (
    I64,
    Flags,
    exclusive_cumsum,
    index_within,
    owner_of,
    ragged_ranges,
    sum_before,
)
from ptm.rng import U64, below, draws, substream, uniform

_CHOOSE, _LENGTHS, _PLACE, _COUNT, _KIND, _REPLACE, _DROP, _LEVEL, _CUT = range(9)


@dataclass(frozen=True)
class Units:
    """What masking chooses among: tokens, words or groups of them, in order.

    `of_token` (N): the unit of each maskable token, -1 for the others; `owner`, `size` (U): the
    example of each unit and its maskable tokens; `run` (U): a number that changes wherever a token
    that may not be masked stands between two units.
    """

    of_token: I64
    owner: I64
    size: I64
    run: I64
    examples: int


def token_units(maskable: Flags, owner: I64, examples: int) -> Units:
    """Every maskable token is a unit."""
    of_token = np.where(maskable, np.cumsum(maskable) - 1, -1)
    mine = owner[maskable]
    run: I64 = np.cumsum(~maskable, dtype=np.int64)[maskable]
    return Units(of_token, mine, np.ones(mine.size, dtype=np.int64), run, examples)


def word_units(maskable: Flags, word_starts: Flags, owner: I64, examples: int) -> Units:
    """Every word with a maskable token is a unit."""
    begins = word_starts.copy()
    begins[1:] |= owner[1:] != owner[:-1]
    words = np.cumsum(begins) - (1 if begins.size and begins[0] else 0)
    used, of_maskable = np.unique(words[maskable], return_inverse=True)
    of_token = np.full(maskable.size, -1, dtype=np.int64)
    of_token[maskable] = of_maskable
    owners, runs = np.zeros((2, used.size), dtype=np.int64)
    owners[of_maskable] = owner[maskable]
    # A word is in the run of its first token.
    runs[of_maskable[::-1]] = np.cumsum(~maskable)[maskable][::-1]
    sizes = np.bincount(of_maskable, minlength=used.size)
    return Units(of_token, owners, sizes, runs, examples)


def choose_level(keys: U64, weights: Sequence[float]) -> I64:
    """A number below `len(weights)` for each example (E), drawn with these weights."""
    shares = np.cumsum(np.asarray(weights) / sum(weights))[:-1]
    point = uniform(draws(substream(keys, _LEVEL), np.zeros(keys.size, dtype=np.int64)))
    return np.searchsorted(shares, point, side="right")


def cutting_keys(keys: U64) -> U64:
    """The streams (E) by which examples are cut into n-grams."""
    return substream(keys, _CUT)


def choose_units(units: Units, keys: U64, *, rate: float, limit: int | None) -> Flags:
    """Units drawn at random in each example until its budget of tokens is met (U).

    The budget is `max(1, round(rate * tokens))`, at most `limit`: met exactly where units are
    tokens, exceeded by less than one unit where they are larger, never beyond `limit`.
    """
    tokens = np.bincount(units.owner, weights=units.size, minlength=units.examples)
    budget = _budget(tokens.astype(np.int64), rate, limit)
    most = np.iinfo(np.int64).max if limit is None else limit
    scores = draws(substream(keys, _CHOOSE)[units.owner], index_within(units.owner))
    order = _sorted_by_owner(units.owner, scores)
    order = order[units.size[order] <= most]
    while True:
        owner, size = units.owner[order], units.size[order]
        before = sum_before(size, owner)
        taken = before < budget[owner]
        too_large = taken & (before > most - size)
        if not too_large.any():
            break
        # Leave out the first that does not fit in each example: those after it may.
        order = order[~(too_large & (sum_before(too_large.astype(np.int64), owner) == 0))]
    chosen = np.zeros(units.size.size, dtype=bool)
    chosen[order[taken]] = True
    return chosen


def geometric_lengths(p: float, longest: int) -> NDArray[np.float64]:
    """Probabilities of span lengths 1..longest: geometric, truncated and renormalised."""
    weights = p * (1 - p) ** np.arange(longest)
    probabilities: NDArray[np.float64] = weights / weights.sum()
    return probabilities


def choose_spans(
    units: Units, keys: U64, *, rate: float, limit: int | None, p: float, longest: int
) -> I64:
    """Spans of whole units in each example: the span of each unit, -1 outside (U).

    Lengths (in units) follow `geometric_lengths`, cut to half of a short example; their number is
    drawn so that `rate` of the units is chosen on average, at least one span an example. Spans
    never touch each other and all placements are equally likely; one that would go on over a token
    that may not be masked ends there. With a `limit`, spans beyond it are dropped at random.
    """
    counts = np.bincount(units.owner, minlength=units.examples)
    first_unit = exclusive_cumsum(counts)
    owner, lengths = _draw_lengths(counts, keys, rate=rate, limit=limit, p=p, longest=longest)
    index = index_within(owner)
    fits = sum_before(lengths, owner) + lengths + index <= counts[owner]
    owner, lengths = owner[fits], lengths[fits]

    # A span goes into one of the gaps between the units that stay, no two into the same.
    hidden = np.bincount(owner, weights=lengths, minlength=units.examples).astype(np.int64)
    spans = np.bincount(owner, minlength=units.examples)
    gaps = np.where(counts > 0, counts - hidden + 1, 0)
    gap_owner = np.repeat(np.arange(units.examples), gaps)
    gap = index_within(gap_owner)
    order = _sorted_by_owner(gap_owner, draws(substream(keys, _PLACE)[gap_owner], gap))
    used = np.zeros(gap.size, dtype=bool)
    used[order[index_within(gap_owner) < spans[gap_owner]]] = True
    starts = first_unit[owner] + gap[used] + sum_before(lengths, owner)

    members = ragged_ranges(starts, lengths)
    span = owner_of(lengths)
    inside = units.run[members] == units.run[starts][span]
    members, span = members[inside], span[inside]
    if limit is not None:
        kept = _within_limit(units, members, span, owner, keys, limit)
        members, span = members[kept], span[kept]
    span_of_unit = np.full(units.size.size, -1, dtype=np.int64)
    span_of_unit[members] = span
    return span_of_unit


def _within_limit(
    units: Units, members: I64, span: I64, owner: I64, keys: U64, limit: int
) -> Flags:
    """Which `members` stay: spans in random order, until `limit` tokens; the last may be cut."""
    scores = draws(substream(keys, _DROP)[owner], index_within(owner))
    place = np.empty_like(owner)
    place[_sorted_by_owner(owner, scores)] = np.arange(owner.size)
    order = np.argsort(place[span], kind="stable")
    mine, size = units.owner[members[order]], units.size[members[order]]
    kept = np.zeros(members.size, dtype=bool)
    kept[order] = sum_before(size, mine) + size <= limit
    return kept


def _draw_lengths(
    counts: I64, keys: U64, *, rate: float, limit: int | None, p: float, longest: int
) -> tuple[I64, I64]:
    """(example, length) of the spans to place, in order of examples."""
    wanted_units = rate * counts if limit is None else np.minimum(rate * counts, limit)
    longest = longest if limit is None else min(longest, limit)
    tables = np.ones((longest + 1, longest))
    for cap in range(1, longest + 1):
        tables[cap, :cap] = np.cumsum(geometric_lengths(p, cap))
        tables[cap, cap - 1 :] = 1.0
    caps = np.clip(counts // 2, 1, longest)
    means = np.array([1.0] + [(1 - tables[c]).sum() + 1 for c in range(1, longest + 1)])[caps]
    fraction = uniform(draws(substream(keys, _COUNT), np.zeros(counts.size, dtype=np.int64)))
    wanted = np.floor(wanted_units / means + fraction).astype(np.int64)
    spans = np.where(counts > 0, np.maximum(1, wanted), 0)
    owner = np.repeat(np.arange(counts.size), spans)
    point = uniform(draws(substream(keys, _LENGTHS)[owner], index_within(owner)))
    lengths = 1 + (point[:, None] >= tables[caps[owner]]).sum(axis=1)
    return owner, lengths.astype(np.int64)


@dataclass(frozen=True)
class Replacement:
    """What stands at chosen tokens: the mask, a random ordinary token, or the token itself."""

    mask_share: float
    random_share: float
    mask_id: int
    ordinary_ids: I64


def replace_tokens(
    ids: I64, chosen: Flags, group: I64, owner: I64, keys: U64, replacement: Replacement
) -> I64:
    """The input ids: `ids` (N) with the chosen ones replaced.

    Tokens of one example with one `group` (N, counted within the example) share the fate of being
    masked, randomised or kept; random tokens are drawn one by one, uniformly.
    """
    at = np.flatnonzero(chosen)
    kind = uniform(draws(substream(keys, _KIND)[owner[at]], group[at]))
    within = index_within(owner)[at]
    drawn = below(
        draws(substream(keys, _REPLACE)[owner[at]], within), replacement.ordinary_ids.size
    )
    masked = kind < replacement.mask_share
    random = ~masked & (kind < replacement.mask_share + replacement.random_share)
    inputs = ids.copy()
    inputs[at[masked]] = replacement.mask_id
    inputs[at[random]] = replacement.ordinary_ids[drawn[random]]
    return inputs


def _budget(tokens: I64, rate: float, limit: int | None) -> I64:
    budget = np.where(tokens > 0, np.maximum(1, np.rint(rate * tokens).astype(np.int64)), 0)
    return budget if limit is None else np.minimum(budget, limit)


def _sorted_by_owner(owner: I64, scores: U64) -> I64:
    """Order by `owner` (ascending already), then by `scores`."""
    return np.lexsort((scores, owner))
