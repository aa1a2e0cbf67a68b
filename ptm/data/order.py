"""The order of rows: one keyed permutation per epoch, computed on demand, never stored.

A balanced Feistel network permutes the integers of an even number of bits, as few as hold all
rows; cycle walking (apply it again until the value is below the number of rows) restricts it to the
rows (Black and Rogaway 2002, "Ciphers with arbitrary finite domains"). The state of the data is
therefore one number, the position in the endless sequence of shuffled epochs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptm.rng import draws, seed_of

_ROUNDS = 6


def permute(positions: NDArray[np.int64], rows: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the rows at `positions` (each in [0, rows)) of the shuffled order of `epoch`."""
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
    """Map `positions` in the endless sequence of shuffled epochs to (epochs, rows).

    All epochs have `rows` rows.
    """
    epochs, within = positions // rows, positions % rows
    shuffled = np.empty_like(within)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        shuffled[here] = permute(within[here], rows, seed=seed, epoch=int(epoch))
    return epochs, shuffled


def rows_between(
    positions: NDArray[np.int64], ends: NDArray[np.int64], *, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Map `positions` to (epochs, rows) for epochs of different sizes.

    `ends`: cumulative number of rows at the end of each epoch.
    """
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
