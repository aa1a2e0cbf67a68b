"""Pairs of texts as an index: each half is one range of tokens, so that a pair is four numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64, ragged_arange
from ptm.data.examples import Examples, Texts
from ptm.rng import U64, draws
from ptm.store.format import TokenStore

_LEFT_OUT = ("documents of one sentence", "tokens in documents of one sentence", "tokens cut off")
_ONES = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.int64)
"""Set bits of every byte."""


@dataclass(frozen=True)
class Pairs(Examples):
    """Each example is two ranges of tokens and a label (E each)."""

    first_starts: I64
    first_lengths: I64
    second_starts: I64
    second_lengths: I64
    labels: I64
    counts: I64
    """What was left out, in the order of the words for it."""

    @property
    def lengths(self) -> I64:
        """Text tokens of every example, both halves together."""
        return np.asarray(self.first_lengths) + np.asarray(self.second_lengths)

    @property
    def left_out(self) -> Mapping[str, int]:
        """Documents of too few sentences, and what truncation cut off."""
        return {word: int(n) for word, n in zip(_LEFT_OUT, self.counts, strict=True) if n}

    def texts(self, store: TokenStore, index: I64) -> Texts:
        """The tokens of the examples `index`, first and second half of each."""
        starts = np.stack([self.first_starts[index], self.second_starts[index]], axis=1)
        parts = np.stack([self.first_lengths[index], self.second_lengths[index]], axis=1)
        ranges = starts.ravel(), parts.ravel()
        words = store.word_starts(*ranges) if store.info.has_word_starts else None
        return Texts(store.tokens(*ranges), parts, words, np.asarray(self.labels[index]))


@dataclass(frozen=True)
class Halves:
    """One range of tokens an example: starts and lengths (E)."""

    starts: I64
    lengths: I64


def truncated(
    first: Halves, second: Halves, longest: int, *, first_keys: U64, second_keys: U64
) -> tuple[Halves, Halves]:
    """Halves of at most `longest` tokens together, none empty.

    As one token after another from the longer half (from the second where they are equal), each
    from its front or its back by the toss of a coin: Google's `truncate_seq_pair`, in closed form.
    """
    shorter = np.minimum(first.lengths, second.lengths)
    fits = first.lengths + second.lengths <= longest
    # Down to the length of the shorter half, then in turn.
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
    """`kept` tokens of each, the others tossed away from the front or the back."""
    removed = halves.lengths - kept
    return Halves(halves.starts + heads(removed, keys), kept)


def heads(tosses: I64, keys: U64) -> I64:
    """How many of so many tosses of a fair coin fall heads up: random bits, counted (E)."""
    words = -(-tosses // 64)
    owner = np.repeat(np.arange(tosses.size), words)
    number = ragged_arange(words)
    bits = draws(keys[owner], number)
    unused = np.clip(64 * (number + 1) - tosses[owner], 0, 63).astype(np.uint64)
    ones = _ONES[(bits >> unused).view(np.uint8)].reshape(-1, 8).sum(axis=1)
    return np.bincount(owner, weights=ones, minlength=tosses.size).astype(np.int64)
