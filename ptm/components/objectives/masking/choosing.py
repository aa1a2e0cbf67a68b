"""Which tokens are predicted: units, spans and levels are drawn here, for a batch at once.

Everything here works on ragged arrays: the tokens of many examples one after another, `owner` (N)
telling which example each belongs to (ascending). Randomness is an argument: `keys` (one stream an
example), so the same example under the same key is masked alike in any batch, which no library's
collator does. Only `maskable` tokens are ever chosen, and every example that has one gets at least
one target.

Token: RoBERTa (Liu et al. 2019, section 4.1). Whole word: Cui et al. 2019. Span: SpanBERT (Joshi
et al. 2019, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence

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
from ptm.components.objectives.masking.base import Maskable, MaskingConfig
from ptm.components.objectives.masking.units import Units, token_units, word_units
from ptm.rng import U64, draws, substream, uniform

_CHOOSE, _LENGTHS, _PLACE, _COUNT, _DROP, _LEVEL, _CUT = 0, 1, 2, 3, 6, 7, 8


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


def _budget(tokens: I64, rate: float, limit: int | None) -> I64:
    budget = np.where(tokens > 0, np.maximum(1, np.rint(rate * tokens).astype(np.int64)), 0)
    return budget if limit is None else np.minimum(budget, limit)


def _sorted_by_owner(owner: I64, scores: U64) -> I64:
    """Order by `owner` (ascending already), then by `scores`."""
    return np.lexsort((scores, owner))


def basic_units(text: Maskable, *, whole_words: bool) -> Units:
    """Every word is a unit, or every token."""
    if not whole_words:
        return token_units(~text.special, text.owner, text.examples)
    assert text.word_starts is not None, "the store has no word starts"
    return word_units(~text.special, text.word_starts, text.owner, text.examples)


def chosen_groups(
    masking: MaskingConfig, text: Maskable, units: Units, keys: U64, *, one_fate: bool
) -> tuple[Flags, I64]:
    """The answer of `choose` where whole `units` are drawn until the budget of tokens is met."""
    chosen = choose_units(units, keys, rate=masking.rate, limit=masking.max_predictions)
    group = units.of_token if one_fate else None
    return of_tokens(units, chosen), place_in_example(text.owner, group)


def of_tokens(units: Units, chosen: Flags) -> Flags:
    """Flags of units as flags of tokens."""
    flags = np.zeros(units.of_token.size, dtype=bool)
    inside = units.of_token >= 0
    flags[inside] = chosen[units.of_token[inside]]
    return flags


def place_in_example(owner: I64, group: I64 | None = None) -> I64:
    """A number for each token that does not depend on the examples around it.

    Tokens of one `group` (global numbers, ascending) get the place of the group's first token.
    """
    place = np.arange(owner.size) - np.searchsorted(owner, owner, side="left")
    if group is None:
        return place
    first = np.full(int(group.max(initial=-1)) + 1, owner.size, dtype=np.int64)
    inside = group >= 0
    np.minimum.at(first, group[inside], np.flatnonzero(inside))
    shared = place.copy()
    shared[inside] = place[first[group[inside]]]
    return shared
