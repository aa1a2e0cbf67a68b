"""What replaces predicted tokens in the input: 80/10/10 (Devlin et al. 2018, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptm.arrays import (
    I64,
    Flags,
    index_within,
)
from ptm.rng import U64, below, draws, substream, uniform

_KIND, _REPLACE = 4, 5


@dataclass(frozen=True)
class Replacement:
    """How chosen tokens are replaced: by the mask token, by a random ordinary token or not."""

    mask_share: float
    """Probability of the mask token."""
    random_share: float
    """Probability of a random ordinary token."""
    mask_id: int
    ordinary_ids: I64
    """The ids that random tokens are drawn from."""


def replace_tokens(
    ids: I64, chosen: Flags, group: I64, owner: I64, keys: U64, replacement: Replacement
) -> I64:
    """Return the input ids: a copy of `ids` (N) with the tokens flagged in `chosen` (N) replaced.

    Tokens of one example with the same `group` (N, numbered within the example) are all masked, all
    randomised or all left unchanged. Random tokens are drawn per token, uniformly. `owner` (N) is
    the example of each token, `keys` (E) one random stream per example.
    """
    # The arrays from here on have one entry per chosen token.
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
