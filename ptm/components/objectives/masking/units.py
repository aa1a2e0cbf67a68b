"""The units that masking chooses from: the tokens, words or longer groups of every example.

N tokens, U units, E examples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptm.arrays import (
    I64,
    Flags,
)


@dataclass(frozen=True)
class Units:
    """The units of a batch, in text order: tokens, words or longer groups."""

    of_token: I64
    """The unit of each maskable token, -1 for other tokens (N)."""
    owner: I64
    """The example of each unit, ascending (U)."""
    size: I64
    """The number of maskable tokens in each unit (U)."""
    run: I64
    """A number that changes wherever an unmaskable token is between two units (U)."""
    examples: int
    """The number of examples E."""


def token_units(maskable: Flags, owner: I64, examples: int) -> Units:
    """One unit per token that is flagged in `maskable` (N)."""
    of_token = np.where(maskable, np.cumsum(maskable) - 1, -1)
    mine = owner[maskable]
    run: I64 = np.cumsum(~maskable, dtype=np.int64)[maskable]
    return Units(of_token, mine, np.ones(mine.size, dtype=np.int64), run, examples)


def word_units(maskable: Flags, word_starts: Flags, owner: I64, examples: int) -> Units:
    """One unit per word with at least one maskable token; `word_starts` (N) flags first tokens."""
    # A word never crosses two examples.
    begins = word_starts.copy()
    begins[1:] |= owner[1:] != owner[:-1]
    # The word of each token (N), then words without a maskable token removed by renumbering.
    words = np.cumsum(begins) - (1 if begins.size and begins[0] else 0)
    used, of_maskable = np.unique(words[maskable], return_inverse=True)
    of_token = np.full(maskable.size, -1, dtype=np.int64)
    of_token[maskable] = of_maskable
    owners, runs = np.zeros((2, used.size), dtype=np.int64)
    owners[of_maskable] = owner[maskable]
    # A word belongs to the run of its first maskable token: assigned last, so it wins.
    runs[of_maskable[::-1]] = np.cumsum(~maskable)[maskable][::-1]
    sizes = np.bincount(of_maskable, minlength=used.size)
    return Units(of_token, owners, sizes, runs, examples)
