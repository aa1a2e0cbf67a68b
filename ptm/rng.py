"""Randomness without state: every draw is a function of keys, never of order, rank or batch.

`draws` is SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators")
in its counter form, vectorised: draw `counter` of stream `key` is mix64(key + counter * GOLDEN).
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def seed_of(*parts: str | int) -> int:
    """A 63-bit seed that depends on every part and on their order."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def mix64(values: U64) -> U64:
    """SplitMix64's finaliser: a bijection of 64-bit integers that avalanches."""
    mixed = values.copy()
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def stream_keys(seed: int, *ids: NDArray[np.int64]) -> U64:
    """One independent stream under `seed` for each tuple of `ids` (broadcast together)."""
    keys = np.array([seed], dtype=np.uint64)
    for part in ids:
        keys = mix64(keys + mix64(part.astype(np.uint64) + _GOLDEN))
    return keys


def substream(keys: U64, purpose: int) -> U64:
    """Streams for another `purpose`, independent of `keys`."""
    return mix64(keys ^ mix64(np.array([purpose], dtype=np.uint64) + _GOLDEN))


def draws(keys: U64, counters: NDArray[np.int64]) -> U64:
    """64 random bits for each (key, counter), broadcast together."""
    return mix64(keys + (counters.astype(np.uint64) + np.uint64(1)) * _GOLDEN)


def uniform(bits: U64) -> NDArray[np.float64]:
    """Floats in [0, 1) from the upper 53 of 64 random bits."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(bits: U64, bound: int) -> NDArray[np.int64]:
    """Integers in [0, bound) from random bits; the bias is below bound / 2**53."""
    return (uniform(bits) * bound).astype(np.int64)
