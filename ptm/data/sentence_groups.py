"""Examples of consecutive whole sentences of one document, as many as fit into a row.

A sentence longer than a row is split into pieces that count as sentences, so nothing is dropped.

Shapes: D documents, S sentences, E examples (groups).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, ragged_arange, ragged_ranges, visited
from ptm.data.documents import Sentences
from ptm.data.examples import Examples, TokenSpans
from ptm.store.reader import TokenStore

_LEFT_OUT = (
    "documents of one sentence",
    "tokens in documents of one sentence",
    "last sentences of documents that are alone in a row",
    "tokens in last sentences that are alone in a row",
)


@dataclass(frozen=True)
class Groups:
    """Runs of consecutive sentences: index of the first, and number of sentences (E each)."""

    first: I64
    counts: I64

    def lengths(self, sentences: Sentences) -> I64:
        """Return the lengths of all sentences, one group after another."""
        return np.asarray(sentences.lengths[ragged_ranges(self.first, self.counts)])

    def chosen(self, flags: NDArray[np.bool_]) -> Groups:
        """Return the groups with `flags` (E)."""
        return Groups(self.first[flags], self.counts[flags])

    def halved(self, flags: NDArray[np.bool_]) -> Groups:
        """Return the groups in order, those with `flags` (E) split into two halves."""
        # Repeat the flagged groups, then correct both copies; `second`: index of the later one.
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
    """Each example is a run of consecutive sentences of one document.

    `starts` (E): first token in the store. `sentences` (S): lengths of all sentences, one example
    after another. `ends` (E): cumulative number of sentences. `source`, `target` (E): maximum
    tokens after noise on each side. `counts` (4): what was left out, in the order of `_LEFT_OUT`.
    """

    starts: I64
    ends: I64
    sentences: I64
    source: I64
    target: I64
    counts: I64

    @property
    def lengths(self) -> I64:
        before = np.concatenate([[0], np.cumsum(self.sentences)])
        return np.diff(before[self.ends], prepend=0)

    @property
    def left_out(self) -> Mapping[str, int]:
        return {word: int(n) for word, n in zip(_LEFT_OUT, self.counts, strict=True) if n}

    def texts(self, store: TokenStore, index: I64) -> TokenSpans:
        begins = np.where(index > 0, self.ends[index - 1], 0)
        counts = self.ends[index] - begins
        parts = np.zeros((index.size, int(counts.max(initial=1))), dtype=np.int64)
        parts[np.arange(parts.shape[1]) < counts[:, None]] = self.sentences[
            ragged_ranges(begins, counts)
        ]
        tokens = store.tokens(np.asarray(self.starts[index]), parts.sum(axis=1))
        return TokenSpans(tokens, parts, None)


def cut_sentences(sentences: Sentences, longest: int) -> Sentences:
    """Split sentences longer than `longest` tokens into pieces that count as sentences."""
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
    """Group all sentences in order, as many per group as fit into `longest` tokens.

    Groups do not cross documents. No sentence may be longer than `longest`.
    """
    # (S): tokens up to the end of each sentence and before it; `following`: the first sentence
    # that no longer fits into a group that starts at each sentence.
    after = np.cumsum(sentences.lengths)
    every = np.arange(sentences.starts.size)
    before = after - sentences.lengths
    following = np.searchsorted(after, before + longest, side="right")
    document_end = np.cumsum(sentences.counts)[sentences.owner]
    first = np.flatnonzero(visited(np.minimum(following, document_end), sentences.first))
    assert not every.size or (np.minimum(following, document_end) > every).all()
    return Groups(first, np.diff(first, append=every.size))


def merge_single_sentences(sentences: Sentences, groups: Groups) -> Groups:
    """Move a sentence from the group before to a document's single last one, if it has over two."""
    single_last = (groups.counts == 1) & (
        groups.first != sentences.first[sentences.owner[groups.first]]
    )
    single_last[1:] &= groups.counts[:-1] > 2
    first, counts = groups.first.copy(), groups.counts.copy()
    at = np.flatnonzero(single_last)
    counts[at - 1] -= 1
    counts[at] += 1
    first[at] -= 1
    return Groups(first, counts)


def drop_single_sentences(sentences: Sentences, groups: Groups) -> tuple[Groups, I64]:
    """Return the groups of two or more sentences, and counts (4) of the others by `_LEFT_OUT`."""
    alone = groups.counts == 1
    of = groups.first[alone]
    only = sentences.counts[sentences.owner[of]] == 1
    lengths = sentences.lengths[of]
    left_out = [only.sum(), lengths[only].sum(), (~only).sum(), lengths[~only].sum()]
    return groups.chosen(~alone), np.array(left_out, dtype=np.int64)


def split_group_sides(examples: Examples) -> I64:
    """Return the maximum tokens of each example on both sides after noise (E, 2)."""
    assert isinstance(examples, SentenceGroups), "expected SentenceGroups"
    return np.stack([examples.source, examples.target], axis=1)
