"""From what is chosen among units to tokens: what most kinds of masking share."""

from __future__ import annotations

import numpy as np

from ptm.arrays import I64, Flags
from ptm.components.objectives.masking.base import Maskable, MaskingConfig
from ptm.components.objectives.masking.units import (
    Units,
    choose_units,
    token_units,
    word_units,
)
from ptm.rng import U64


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
