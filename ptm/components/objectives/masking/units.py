"""What masking chooses among: the tokens, words or groups of them of every example, in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptm.arrays import (
    I64,
    Flags,
)


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
