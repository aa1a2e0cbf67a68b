"""Neighbouring sentences of a document as examples: as many as have room, none cut but long ones.

A sentence longer than a row is cut into pieces, which then count as sentences of their own, so that
nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, ragged_arange, ragged_ranges, visited
from ptm.data.documents import Sentences
from ptm.data.examples import Examples, Texts
from ptm.store.format import TokenStore

_LEFT_OUT = (
    "documents of one sentence",
    "tokens in documents of one sentence",
    "last sentences of documents that found no other in their row",
    "tokens in such last sentences",
)


@dataclass(frozen=True)
class Groups:
    """Runs of neighbouring sentences: the number of the first, and how many they are (E)."""

    first: I64
    counts: I64

    def lengths(self, sentences: Sentences) -> I64:
        """The lengths of their sentences, one group after another."""
        return np.asarray(sentences.lengths[ragged_ranges(self.first, self.counts)])

    def chosen(self, flags: NDArray[np.bool_]) -> Groups:
        """Some of them."""
        return Groups(self.first[flags], self.counts[flags])

    def halved(self, flags: NDArray[np.bool_]) -> Groups:
        """The flagged ones cut in the middle, in order."""
        parts = np.where(flags, 2, 1)
        second = np.cumsum(parts)[flags] - 1
        first, counts = np.repeat(self.first, parts), np.repeat(self.counts, parts)
        head = self.counts[flags] // 2
        counts[second - 1] = head
        first[second] += head
        counts[second] -= head
        return Groups(first, counts)


@dataclass(frozen=True)
class SentenceGroups(Examples):
    """Each example is some neighbouring sentences of one document.

    `starts` (E): its first token in the store; `ends` (E): sentences up to the end of each example;
    `sentences` (S): the lengths of all sentences, one example after another. `source`, `target`
    (E): the most tokens that noise can make of it on each side.
    """

    starts: I64
    ends: I64
    sentences: I64
    source: I64
    target: I64
    counts: I64
    """What was left out, in the order of the words for it."""

    @property
    def lengths(self) -> I64:
        """Text tokens of every example."""
        before = np.concatenate([[0], np.cumsum(self.sentences)])
        return np.diff(before[self.ends], prepend=0)

    @property
    def left_out(self) -> Mapping[str, int]:
        """Sentences that had no other beside them."""
        return {word: int(n) for word, n in zip(_LEFT_OUT, self.counts, strict=True) if n}

    def texts(self, store: TokenStore, index: I64) -> Texts:
        """The tokens of the examples `index`; `parts` are sentences, 0 where there are fewer."""
        begins = np.where(index > 0, self.ends[index - 1], 0)
        counts = self.ends[index] - begins
        parts = np.zeros((index.size, int(counts.max(initial=1))), dtype=np.int64)
        parts[np.arange(parts.shape[1]) < counts[:, None]] = self.sentences[
            ragged_ranges(begins, counts)
        ]
        tokens = store.tokens(np.asarray(self.starts[index]), parts.sum(axis=1))
        return Texts(tokens, parts, None)


def cut_sentences(sentences: Sentences, longest: int) -> Sentences:
    """The same with sentences longer than `longest` cut into pieces."""
    pieces = -(-sentences.lengths // longest)
    number = ragged_arange(pieces)
    rest = np.repeat(sentences.lengths, pieces) - number * longest
    return Sentences(
        np.repeat(sentences.starts, pieces) + number * longest,
        np.minimum(rest, longest),
        np.bincount(np.repeat(sentences.owner, pieces), minlength=sentences.counts.size).astype(
            np.int64
        ),
    )


def full_groups(sentences: Sentences, longest: int) -> Groups:
    """All sentences in their order, as many together as `longest` tokens and a document have.

    No sentence is longer than `longest`.
    """
    after = np.cumsum(sentences.lengths)
    every = np.arange(sentences.starts.size)
    before = after - sentences.lengths
    following = np.searchsorted(after, before + longest, side="right")
    document_end = np.cumsum(sentences.counts)[sentences.owner]
    first = np.flatnonzero(visited(np.minimum(following, document_end), sentences.first))
    assert not every.size or (np.minimum(following, document_end) > every).all()
    return Groups(first, np.diff(first, append=every.size))


def kept_company(sentences: Sentences, groups: Groups) -> Groups:
    """A last sentence that is left alone gets the one before it, where that one can be spared."""
    lonely = (groups.counts == 1) & (groups.first != sentences.first[sentences.owner[groups.first]])
    lonely[1:] &= groups.counts[:-1] > 2
    first, counts = groups.first.copy(), groups.counts.copy()
    at = np.flatnonzero(lonely)
    counts[at - 1] -= 1
    counts[at] += 1
    first[at] -= 1
    return Groups(first, counts)


def without_lonely(sentences: Sentences, groups: Groups) -> tuple[Groups, I64]:
    """The groups of two sentences or more, and what the others were."""
    alone = groups.counts == 1
    of = groups.first[alone]
    only = sentences.counts[sentences.owner[of]] == 1
    lengths = sentences.lengths[of]
    left_out = [only.sum(), lengths[only].sum(), (~only).sum(), lengths[~only].sum()]
    return groups.chosen(~alone), np.array(left_out, dtype=np.int64)


def sides_of_groups(examples: Examples) -> I64:
    """The most tokens that each has on both sides (E, 2)."""
    assert isinstance(examples, SentenceGroups), "not made of sentences"
    return np.stack([examples.source, examples.target], axis=1)
