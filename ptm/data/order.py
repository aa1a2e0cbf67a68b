"""The order of rows: a keyed permutation per epoch, computed, never stored.

A balanced Feistel network over the smallest even power of two that holds all rows is a bijection;
walking its cycle until the value falls among the rows makes it one of the rows alone (Black and
Rogaway 2002, "Ciphers with arbitrary finite domains"). The whole state of the data is therefore a
position: `position // rows` is the epoch, or, where epochs have different numbers of rows, the
epoch is the one that the position falls into.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptm.rng import draws, seed_of

_ROUNDS = 6


def permute(positions: NDArray[np.int64], rows: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Where `positions` (each in [0, rows)) stand in the shuffled order of `epoch`."""
    half = max(1, ((rows - 1).bit_length() + 1) // 2)
    round_keys = np.array([seed_of(seed, "order", epoch, r) for r in range(_ROUNDS)], np.uint64)
    values = _feistel(positions.astype(np.uint64), half, round_keys)
    outside = values >= rows
    while outside.any():
        values[outside] = _feistel(values[outside], half, round_keys)
        outside = values >= rows
    return values.astype(np.int64)


def _feistel(
    values: NDArray[np.uint64], half: int, round_keys: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    shift, mask = np.uint64(half), np.uint64(2**half - 1)
    left, right = values >> shift, values & mask
    for key in round_keys:
        mixed = draws(np.full_like(right, key), right.astype(np.int64)) >> np.uint64(20)
        left, right = right, left ^ (mixed & mask)
    joined: NDArray[np.uint64] = (left << shift) | right
    return joined


def rows_at(
    positions: NDArray[np.int64], rows: int, *, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(epoch, row) of global `positions` in the endless sequence of shuffled epochs."""
    epochs, within = positions // rows, positions % rows
    shuffled = np.empty_like(within)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        shuffled[here] = permute(within[here], rows, seed=seed, epoch=int(epoch))
    return epochs, shuffled


def rows_between(
    positions: NDArray[np.int64], ends: NDArray[np.int64], *, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(epoch, row) of global `positions`, where epoch e ends before position `ends[e]`."""
    epochs = np.searchsorted(ends, positions, side="right")
    begins = np.concatenate([[0], ends])
    shuffled = np.empty_like(positions)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        shuffled[here] = permute(
            positions[here] - begins[epoch],
            int(ends[epoch] - begins[epoch]),
            seed=seed,
            epoch=int(epoch),
        )
    return epochs.astype(np.int64), shuffled
