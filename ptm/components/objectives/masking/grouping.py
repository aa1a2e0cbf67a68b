"""Units of several tokens, found for a whole batch at once: phrases of a lexicon and n-grams.

As in `units`, arrays are ragged: the tokens of many examples are concatenated, and `owner` gives
the example of each. The result for one example does not depend on the rest of the batch.

N tokens, U units, E examples.

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
    """A set of phrases (sequences of token ids), stored as one sorted table of edges per depth.

    The nodes of each depth are numbered from 0; the root is node 0 of depth 0.
    """

    vocabulary: int
    """Vocabulary size; all ids are below it."""
    edges: tuple[I64, ...]
    """`edges[d]` has `node * vocabulary + token` for each edge from depth d to d + 1, ascending.
    The index of an edge is the number of the node that it leads to."""
    ends: tuple[Flags, ...]
    """`ends[d]` flags the nodes of depth d + 1 at which a phrase (of d + 1 tokens) ends."""

    @classmethod
    def of(cls, phrases: Sequence[Sequence[int]], vocabulary: int) -> PhraseTrie:
        """Build the trie of `phrases`, non-empty sequences of ids below `vocabulary`."""
        # All phrases are inserted together, one depth per round. lengths, first: the length of
        # each phrase and where it begins in the flat ids; node: the node that it has reached.
        lengths = np.array([len(phrase) for phrase in phrases], dtype=np.int64)
        ids = np.array([token for phrase in phrases for token in phrase], dtype=np.int64)
        first = exclusive_cumsum(lengths)
        node = np.zeros(lengths.size, dtype=np.int64)
        edges, ends = [], []
        for depth in range(int(lengths.max(initial=0))):
            continuing = np.flatnonzero(lengths > depth)
            steps = node[continuing] * vocabulary + ids[first[continuing] + depth]
            table, node[continuing] = np.unique(steps, return_inverse=True)
            ending = np.zeros(table.size, dtype=bool)
            ending[node[continuing[lengths[continuing] == depth + 1]]] = True
            edges.append(table)
            ends.append(ending)
        return cls(vocabulary, tuple(edges), tuple(ends))

    @property
    def fingerprint(self) -> str:
        """A hash of the set of phrases, independent of their order."""
        digest = hashlib.blake2b(str(self.vocabulary).encode(), digest_size=16)
        for table, ending in zip(self.edges, self.ends, strict=True):
            digest.update(table.tobytes() + ending.tobytes())
        return digest.hexdigest()

    def matches(self, ids: I64, begins: I64) -> Iterator[tuple[int, I64]]:
        """Find all phrases in `ids` that begin at one of `begins` (ascending).

        Yields, for each length from 1 up, the length and the begins of its matches, ascending.
        """
        # `at`: the first tokens of candidates that still follow the trie; `node`: the node that
        # each has reached.
        at, node = begins, np.zeros(begins.size, dtype=np.int64)
        for depth, (table, ending) in enumerate(zip(self.edges, self.ends, strict=True)):
            inside = at + depth < ids.size
            at, node = at[inside], node[inside]
            steps = node * self.vocabulary + ids[at + depth]
            node = np.minimum(np.searchsorted(table, steps), table.size - 1)
            found = table[node] == steps
            at, node = at[found], node[found]
            yield depth + 1, at[ending[node]]


def inner_phrase_tokens(phrases: PhraseTrie, ids: I64, segment: I64, may_begin: Flags) -> Flags:
    """Flag every token that is inside a phrase and is not its first token (N).

    Phrases are chosen greedily so that they do not overlap: the longest first, among equally long
    ones the leftmost first.

    Args:
        phrases: The phrases to look for.
        ids: Token ids (N).
        segment: A number that changes wherever a phrase may not continue from one token to the
            next; -1 for tokens that belong to no phrase (N).
        may_begin: Whether a phrase may begin at a token, and another end before it (N).
    """
    # ends_well[i]: whether a phrase may end right before token i (N + 1).
    may_end = np.append(may_begin, True)
    may_end[1:-1] |= segment[1:] != segment[:-1]
    inner, taken = np.zeros((2, ids.size), dtype=bool)
    begins = np.flatnonzero(may_begin & (segment >= 0))
    for length, starts in reversed(list(phrases.matches(ids, begins))):
        # Drop matches that cross a segment or end at a wrong place, then those that overlap a
        # longer phrase: no token of a match may be taken yet.
        whole = (segment[starts] == segment[starts + length - 1]) & may_end[starts + length]
        starts = starts[whole]
        before = np.append(0, np.cumsum(taken))
        starts = starts[before[starts] == before[starts + length]]
        if not starts.size:
            continue
        # Leftmost first: apart[i] is the next match that does not overlap match i, and the matches
        # met on the way from match 0 are kept.
        next_disjoint = np.searchsorted(starts, starts + length)
        starts = starts[visited(next_disjoint, np.zeros(1, dtype=np.int64))]
        held = starts[:, None] + np.arange(length)
        taken[held] = True
        inner[held[:, 1:]] = True
    return inner


def ngram_units(units: Units, keys: U64, longest: int) -> Units:
    """Join `units` into n-grams, with n in 1..`longest` drawn with weights 1/n.

    Every stretch of units without a special token between them is cut, from its beginning, into
    n-grams with independently drawn lengths. The last n-gram is cut off at the end of the stretch.
    `keys` (E) is one random stream per example.
    """
    count = units.owner.size
    if not count:
        return units
    # lengths (U): the length of the n-gram that would begin at each unit.
    weights = 1 / np.arange(1, longest + 1)
    table = np.cumsum(weights / weights.sum())[:-1]
    point = uniform(draws(keys[units.owner], index_within(units.owner)))
    lengths = 1 + np.searchsorted(table, point, side="right")
    # new (U): whether a stretch begins at each unit; stretch_end (U): the end of its stretch.
    new = np.ones(count, dtype=bool)
    new[1:] = (np.diff(units.owner) != 0) | (np.diff(units.run) != 0)
    first = np.flatnonzero(new)
    stretch_end = np.append(first[1:], count)[np.cumsum(new) - 1]
    # Follow the lengths from the first unit of every stretch: begins (U) flags the units at which
    # an n-gram begins, gram (U) is the n-gram of each unit.
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
