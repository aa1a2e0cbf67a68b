"""What stands in the place of predicted tokens: 80/10/10 (Devlin et al. 2018, section 3.1)."""

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
