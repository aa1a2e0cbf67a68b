"""Random choice of the predicted tokens (units, spans and levels), for a whole batch at once.

All functions work on ragged arrays: the tokens of many examples are concatenated, and `owner` (N)
gives the example of each (ascending). Randomness is an argument, `keys` (E), one stream per
example: the same example under the same key is masked alike in any batch, which no library's
collator guarantees. Only maskable tokens are chosen, and every example with a maskable token gets
at least one target.

N tokens, U units, E examples, S spans, M units inside spans.

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
    """Draw an index into `weights` for each example (E), in proportion to the weights."""
    shares = np.cumsum(np.asarray(weights) / sum(weights))[:-1]
    point = uniform(draws(substream(keys, _LEVEL), np.zeros(keys.size, dtype=np.int64)))
    return np.searchsorted(shares, point, side="right")


def ngram_keys(keys: U64) -> U64:
    """The random streams (E) for the cutting of examples into n-grams."""
    return substream(keys, _CUT)


def choose_units(units: Units, keys: U64, *, rate: float, limit: int | None) -> Flags:
    """Draw units at random in each example until its budget of tokens is met; returns flags (U).

    The budget is `max(1, round(rate * tokens))`, at most `limit`. It is met exactly if units are
    tokens, and exceeded by less than one unit if they are larger; `limit` is never exceeded.
    """
    tokens = np.bincount(units.owner, weights=units.size, minlength=units.examples)
    budget = _budget(tokens.astype(np.int64), rate, limit)
    most = np.iinfo(np.int64).max if limit is None else limit
    # The units in random order within each example, without those that can never fit.
    scores = draws(substream(keys, _CHOOSE)[units.owner], index_within(units.owner))
    order = _sorted_by_owner(units.owner, scores)
    order = order[units.size[order] <= most]
    while True:
        owner, size = units.owner[order], units.size[order]
        # Tokens in the earlier units of the same example.
        before = sum_before(size, owner)
        taken = before < budget[owner]
        too_large = taken & (before > most - size)
        if not too_large.any():
            break
        # Drop the first unit of each example that exceeds the limit; later, smaller ones may fit.
        order = order[~(too_large & (sum_before(too_large.astype(np.int64), owner) == 0))]
    chosen = np.zeros(units.size.size, dtype=bool)
    chosen[order[taken]] = True
    return chosen


def geometric_lengths(p: float, longest: int) -> NDArray[np.float64]:
    """Probabilities of the span lengths 1..longest: geometric, truncated and renormalised."""
    weights = p * (1 - p) ** np.arange(longest)
    probabilities: NDArray[np.float64] = weights / weights.sum()
    return probabilities


def choose_spans(
    units: Units, keys: U64, *, rate: float, limit: int | None, p: float, longest: int
) -> I64:
    """Draw spans of whole units in each example; returns the span of each unit, -1 outside (U).

    Lengths (in units) follow `geometric_lengths`, truncated to half of a short example. The number
    of spans is drawn so that `rate` of the units is chosen on average, with at least one span per
    example. Spans never touch each other and all placements are equally likely. A span ends before
    an unmaskable token. With a `limit` on the tokens of an example, spans beyond it are dropped at
    random.
    """
    # Keep the spans that fit into their example with at least one unit between any two of them.
    counts = np.bincount(units.owner, minlength=units.examples)
    first_unit = exclusive_cumsum(counts)
    owner, lengths = _draw_lengths(counts, keys, rate=rate, limit=limit, p=p, longest=longest)
    index = index_within(owner)
    fits = sum_before(lengths, owner) + lengths + index <= counts[owner]
    owner, lengths = owner[fits], lengths[fits]

    # An example has `counts - hidden` units outside spans, and one more gap before, between and
    # after them. Each span goes into a gap of its own; gaps are drawn without replacement.
    hidden = np.bincount(owner, weights=lengths, minlength=units.examples).astype(np.int64)
    spans = np.bincount(owner, minlength=units.examples)
    gaps = np.where(counts > 0, counts - hidden + 1, 0)
    gap_owner = np.repeat(np.arange(units.examples), gaps)
    gap = index_within(gap_owner)
    order = _sorted_by_owner(gap_owner, draws(substream(keys, _PLACE)[gap_owner], gap))
    used = np.zeros(gap.size, dtype=bool)
    used[order[index_within(gap_owner) < spans[gap_owner]]] = True
    # Before a span are the `gap` units outside spans and the units of all earlier spans (S).
    starts = first_unit[owner] + gap[used] + sum_before(lengths, owner)

    # The units inside spans and the span of each (M), cut where the run changes.
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
    """Flag the `members` to keep (M): spans in random order up to `limit` tokens per example.

    The last span may be cut short.
    """
    # place (S): the place of each span in an order that is random within each example.
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
    """Draw how many spans each example gets, and their lengths.

    Returns the example (S, ascending) and the length in units (S) of each span.
    """
    wanted_units = rate * counts if limit is None else np.minimum(rate * counts, limit)
    longest = longest if limit is None else min(longest, limit)
    # tables[cap]: cumulative probabilities of the lengths 1..cap.
    tables = np.ones((longest + 1, longest))
    for cap in range(1, longest + 1):
        tables[cap, :cap] = np.cumsum(geometric_lengths(p, cap))
        tables[cap, cap - 1 :] = 1.0
    # The longest span allowed in each example, and the mean length under that cap (E)
    caps = np.clip(counts // 2, 1, longest)
    # (a mean is the sum over n >= 0 of the probability of a length above n).
    means = np.array([1.0] + [(1 - tables[c]).sum() + 1 for c in range(1, longest + 1)])[caps]
    # Random rounding: the expected number of spans is exactly wanted_units / means.
    fraction = uniform(draws(substream(keys, _COUNT), np.zeros(counts.size, dtype=np.int64)))
    wanted = np.floor(wanted_units / means + fraction).astype(np.int64)
    spans = np.where(counts > 0, np.maximum(1, wanted), 0)
    owner = np.repeat(np.arange(counts.size), spans)
    point = uniform(draws(substream(keys, _LENGTHS)[owner], index_within(owner)))
    lengths = 1 + (point[:, None] >= tables[caps[owner]]).sum(axis=1)
    return owner, lengths.astype(np.int64)


def _budget(tokens: I64, rate: float, limit: int | None) -> I64:
    """The number of tokens to predict in examples of so many maskable `tokens` (E)."""
    budget = np.where(tokens > 0, np.maximum(1, np.rint(rate * tokens).astype(np.int64)), 0)
    return budget if limit is None else np.minimum(budget, limit)


def _sorted_by_owner(owner: I64, scores: U64) -> I64:
    """The indices that sort by `owner` (already ascending), then by `scores`."""
    return np.lexsort((scores, owner))


def basic_units(text: Maskable, *, whole_words: bool) -> Units:
    """One unit per word with `whole_words`, else one unit per token; maskable tokens only."""
    if not whole_words:
        return token_units(~text.special, text.owner, text.examples)
    assert text.word_starts is not None, "the store has no word starts"
    return word_units(~text.special, text.word_starts, text.owner, text.examples)


def choose_and_group(
    masking: MaskingConfig, text: Maskable, units: Units, keys: U64, *, replace_together: bool
) -> tuple[Flags, I64]:
    """The result of `MaskingConfig.choose` if whole `units` are drawn until the budget is met.

    With `replace_together`, the tokens of a unit form one group; else every token is a group of its
    own.
    """
    chosen = choose_units(units, keys, rate=masking.rate, limit=masking.max_predictions)
    group = units.of_token if replace_together else None
    return unit_flags_to_tokens(units, chosen), position_in_example(text.owner, group)


def unit_flags_to_tokens(units: Units, chosen: Flags) -> Flags:
    """Convert flags of units (U) into flags of tokens (N); False for tokens outside units."""
    flags = np.zeros(units.of_token.size, dtype=bool)
    inside = units.of_token >= 0
    flags[inside] = chosen[units.of_token[inside]]
    return flags


def position_in_example(owner: I64, group: I64 | None = None) -> I64:
    """The place of each token within its example (N), which is the same in any batch.

    With `group` (N; ascending numbers over the batch, -1 for none), all tokens of a group get the
    place of its first token.
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
