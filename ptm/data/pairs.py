"""Index of sentence pairs: each half is one range of tokens in the store.

Shapes: E examples (pairs), W 64-bit words of random bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64, ragged_arange
from ptm.data.examples import Examples, TokenSpans
from ptm.rng import U64, draws
from ptm.store.reader import TokenStore

_LEFT_OUT = ("documents of one sentence", "tokens in documents of one sentence", "tokens cut off")
_ONES = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.int64)
"""Number of set bits of each byte."""


@dataclass(frozen=True)
class Pairs(Examples):
    """Each example is two ranges of tokens and a label (E each).

    `counts` (3): what was left out, in the order of `_LEFT_OUT`.
    """

    first_starts: I64
    first_lengths: I64
    second_starts: I64
    second_lengths: I64
    labels: I64
    counts: I64

    @property
    def lengths(self) -> I64:
        return np.asarray(self.first_lengths) + np.asarray(self.second_lengths)

    @property
    def left_out(self) -> Mapping[str, int]:
        return {word: int(n) for word, n in zip(_LEFT_OUT, self.counts, strict=True) if n}

    def texts(self, store: TokenStore, index: I64) -> TokenSpans:
        starts = np.stack([self.first_starts[index], self.second_starts[index]], axis=1)
        parts = np.stack([self.first_lengths[index], self.second_lengths[index]], axis=1)
        ranges = starts.ravel(), parts.ravel()
        words = store.word_starts(*ranges) if store.info.has_word_starts else None
        return TokenSpans(store.tokens(*ranges), parts, words, np.asarray(self.labels[index]))


@dataclass(frozen=True)
class Halves:
    """One range of tokens per example: starts and lengths (E)."""

    starts: I64
    lengths: I64


def truncated(
    first: Halves, second: Halves, longest: int, *, first_keys: U64, second_keys: U64
) -> tuple[Halves, Halves]:
    """Truncate pairs to at most `longest` tokens, without emptying a half.

    Equivalent to Google's `truncate_seq_pair`: while a pair is too long, remove one token from the
    longer half (the second if they are equal), at its front or back by a coin toss. `first_keys`,
    `second_keys` (E): random streams of the tosses.
    """
    # In closed form: the longer half shrinks to the shorter one, then both shrink in turn.
    shorter = np.minimum(first.lengths, second.lengths)
    fits = first.lengths + second.lengths <= longest
    only_longer = longest - shorter >= shorter
    first_kept = np.where(
        only_longer,
        np.where(first.lengths == shorter, shorter, longest - shorter),
        longest - longest // 2,
    )
    first_kept = np.where(fits, first.lengths, first_kept)
    second_kept = np.where(fits, second.lengths, longest - first_kept)
    return (
        _cut(first, first_kept, first_keys),
        _cut(second, second_kept, second_keys),
    )


def _cut(halves: Halves, kept: I64, keys: U64) -> Halves:
    """Keep `kept` (E) tokens of each half; a coin toss per removed token decides front or back."""
    removed = halves.lengths - kept
    return Halves(halves.starts + count_heads(removed, keys), kept)


def count_heads(flips: I64, keys: U64) -> I64:
    """Return the number of heads among `flips` (E) fair coin tosses per example (E)."""
    # One random bit per toss: `words` (E) words of 64 bits per example; owner, number, bits (W).
    words = -(-flips // 64)
    owner = np.repeat(np.arange(flips.size), words)
    number = ragged_arange(words)
    bits = draws(keys[owner], number)
    # Shift the unused bits out of each example's last word, then count bits byte by byte.
    unused = np.clip(64 * (number + 1) - flips[owner], 0, 63).astype(np.uint64)
    ones = _ONES[(bits >> unused).view(np.uint8)].reshape(-1, 8).sum(axis=1)
    return np.bincount(owner, weights=ones, minlength=flips.size).astype(np.int64)
