"""Where units of several tokens begin: phrases of a lexicon and n-grams, for a batch at once.

As in `units`, arrays are ragged (the tokens of many examples one after another, `owner` telling
whose they are), and nothing depends on the other examples of a batch.

Phrases: ERNIE (Sun et al. 2019, 1904.09223, section 3.2). N-grams: ALBERT (Lan et al. 2019,
1909.11942, section 4.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64, Flags, exclusive_cumsum, index_within, visited
from ptm.components.objectives.masking.units import Units
from ptm.rng import U64, draws, uniform


@dataclass(frozen=True, eq=False)
class PhraseTrie:
    """A set of id sequences, as one sorted table of edges for each depth.

    `edges[d]`: `node * vocabulary + token` for each step from depth d to d + 1, ascending; its
    index is the node it leads to. `ends[d]`: whether a phrase of d + 1 tokens ends there.
    """

    vocabulary: int
    edges: tuple[I64, ...]
    ends: tuple[Flags, ...]

    @classmethod
    def of(cls, phrases: Sequence[Sequence[int]], vocabulary: int) -> PhraseTrie:
        """The trie of `phrases`, none of them empty, of ids below `vocabulary`."""
        lengths = np.array([len(phrase) for phrase in phrases], dtype=np.int64)
        ids = np.array([token for phrase in phrases for token in phrase], dtype=np.int64)
        first = exclusive_cumsum(lengths)
        node = np.zeros(lengths.size, dtype=np.int64)
        edges, ends = [], []
        for depth in range(int(lengths.max(initial=0))):
            going = np.flatnonzero(lengths > depth)
            steps = node[going] * vocabulary + ids[first[going] + depth]
            table, node[going] = np.unique(steps, return_inverse=True)
            ending = np.zeros(table.size, dtype=bool)
            ending[node[going[lengths[going] == depth + 1]]] = True
            edges.append(table)
            ends.append(ending)
        return cls(vocabulary, tuple(edges), tuple(ends))

    @property
    def fingerprint(self) -> str:
        """Of the set of phrases, whatever their order was."""
        digest = hashlib.blake2b(str(self.vocabulary).encode(), digest_size=16)
        for table, ending in zip(self.edges, self.ends, strict=True):
            digest.update(table.tobytes() + ending.tobytes())
        return digest.hexdigest()

    def matches(self, ids: I64, begins: I64) -> Iterator[tuple[int, I64]]:
        """(length, where) of all phrases that begin at one of `begins` (ascending), short first."""
        at, node = begins, np.zeros(begins.size, dtype=np.int64)
        for depth, (table, ending) in enumerate(zip(self.edges, self.ends, strict=True)):
            inside = at + depth < ids.size
            at, node = at[inside], node[inside]
            steps = node * self.vocabulary + ids[at + depth]
            node = np.minimum(np.searchsorted(table, steps), table.size - 1)
            found = table[node] == steps
            at, node = at[found], node[found]
            yield depth + 1, at[ending[node]]


def phrase_tokens(phrases: PhraseTrie, ids: I64, segment: I64, may_begin: Flags) -> Flags:
    """For every token (N), whether it stands inside a phrase and is not its first token.

    Of phrases that overlap the longest is taken, of those of one length the leftmost, and so on
    with what is left. `segment` (N): a number that changes between two tokens that no phrase may
    hold both; -1 for tokens no phrase may hold. `may_begin` (N): where a phrase may begin, and
    before which one may end.
    """
    ends_well = np.append(may_begin, True)
    ends_well[1:-1] |= segment[1:] != segment[:-1]
    inner, taken = np.zeros((2, ids.size), dtype=bool)
    begins = np.flatnonzero(may_begin & (segment >= 0))
    for length, starts in reversed(list(phrases.matches(ids, begins))):
        whole = (segment[starts] == segment[starts + length - 1]) & ends_well[starts + length]
        starts = starts[whole]
        before = np.append(0, np.cumsum(taken))
        starts = starts[before[starts] == before[starts + length]]
        if not starts.size:
            continue
        apart = np.searchsorted(starts, starts + length)
        starts = starts[visited(apart, np.zeros(1, dtype=np.int64))]
        held = starts[:, None] + np.arange(length)
        taken[held] = True
        inner[held[:, 1:]] = True
    return inner


def ngram_units(units: Units, keys: U64, longest: int) -> Units:
    """`units` joined into n-grams, n of 1..`longest` drawn with weights 1/n.

    Every stretch of units without a special token between them is cut from its beginning into
    n-grams whose lengths are drawn independently; the last ends with the stretch.
    """
    count = units.owner.size
    if not count:
        return units
    weights = 1 / np.arange(1, longest + 1)
    table = np.cumsum(weights / weights.sum())[:-1]
    point = uniform(draws(keys[units.owner], index_within(units.owner)))
    lengths = 1 + np.searchsorted(table, point, side="right")
    new = np.ones(count, dtype=bool)
    new[1:] = (np.diff(units.owner) != 0) | (np.diff(units.run) != 0)
    first = np.flatnonzero(new)
    stretch_end = np.append(first[1:], count)[np.cumsum(new) - 1]
    after = np.arange(count) + lengths
    begins = visited(np.where(after < stretch_end, after, count), first)
    gram = np.cumsum(begins) - 1
    return Units(
        of_token=np.where(units.of_token >= 0, gram[units.of_token], -1),
        owner=units.owner[begins],
        size=np.bincount(gram, weights=units.size).astype(np.int64),
        run=units.run[begins],
        examples=units.examples,
    )
