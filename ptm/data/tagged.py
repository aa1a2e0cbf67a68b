"""Index of tagged sentences, split between words into windows that fit into rows.

Shapes: D sentences, E windows (examples), T tokens of some sentences, R rounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ptm.arrays import I64, Flags, exclusive_cumsum, ragged_ranges
from ptm.data.documents import Documents
from ptm.data.examples import Examples, TokenSpans
from ptm.store.reader import TokenStore

BEGINS, ENDS = 1, 2
"""Bits of a window's label: its first word begins the sentence; its last word ends it."""
_TOKENS_TOGETHER = 2**20
"""About how many tags are read at once."""


@dataclass(frozen=True)
class TaggedWindows(Examples):
    """Each example is one range of tokens, with label bits BEGINS and ENDS and a number of words.

    The windows of a sentence follow each other. `tag_counts`: words of each tag, in the order of
    the classes. `cut` (2): number of words longer than a row, and their tokens that are cut off;
    the first token of every word, which has its tag, is in a window.
    """

    starts: I64
    lengths: I64
    labels: I64
    words: I64
    tag_counts: I64
    cut: I64

    @property
    def left_out(self) -> Mapping[str, int]:
        words, tokens = self.cut.tolist()
        what = f"tokens cut off (words too long for a row: {words:,}; their tags are kept)"
        return {what: tokens} if words else {}

    def texts(self, store: TokenStore, index: I64) -> TokenSpans:
        starts, lengths = np.asarray(self.starts[index]), np.asarray(self.lengths[index])
        return TokenSpans(
            store.tokens(starts, lengths),
            lengths[:, None],
            None,
            np.asarray(self.labels[index]),
            store.tags(starts, lengths),
        )


def tagged_windows(documents: Documents, longest: int, *, tags: int) -> TaggedWindows:
    """Return windows of at most `longest` tokens without overlap, cut before words only.

    A window takes as many words of its sentence as fit. A word that is longer than a window is one
    by itself, without its last tokens. `tags`: number of different tags.
    """
    starts, lengths = documents.ranges
    tag_counts = np.zeros(tags, dtype=np.int64)
    words = np.zeros(starts.size, dtype=np.int64)
    parts = [np.empty((0, 5), dtype=np.int64)]
    for some in _together(lengths):
        found = documents.store.tags(starts[some], lengths[some])
        tag_counts += np.bincount(found, minlength=tags + 1)[1:]
        is_word = found > 0
        words[some] = np.add.reduceat(is_word, exclusive_cumsum(lengths[some]), dtype=np.int64)
        long = np.flatnonzero(lengths[some] > longest)
        if long.size:
            at = exclusive_cumsum(lengths[some])[long]
            size = lengths[some][long]
            firsts = is_word[ragged_ranges(at, size)]
            parts.append(word_windows(size, firsts, longest, sentence=long + some.start))
    cut = np.concatenate(parts)
    # One window per sentence that fits, and those of `cut`, in the order of the sentences.
    whole = np.flatnonzero(lengths <= longest)
    columns = np.stack([whole, 0 * whole, lengths[whole], lengths[whole], words[whole]], axis=1)
    windows = np.concatenate([columns, cut])
    windows = windows[np.lexsort((windows[:, 1], windows[:, 0]))]
    sentence, offset, kept, covered, words = windows.T
    begins, ends = offset == 0, offset + covered == lengths[sentence]
    return TaggedWindows(
        starts=starts[sentence] + offset,
        lengths=kept,
        labels=BEGINS * begins.astype(np.int64) + ENDS * ends.astype(np.int64),
        words=words,
        tag_counts=tag_counts,
        cut=np.array([(covered > kept).sum(), (covered - kept).sum()], dtype=np.int64),
    )


def _together(lengths: I64) -> Iterator[slice]:
    """Yield slices of sentences that have about `_TOKENS_TOGETHER` tokens each."""
    number = np.cumsum(lengths) // _TOKENS_TOGETHER
    cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), lengths.size]
    for begin, end in pairwise(cuts):
        if begin < end:
            yield slice(begin, end)


def word_windows(lengths: I64, firsts: Flags, longest: int, *, sentence: I64) -> I64:
    """The windows of at most `longest` tokens of sentences, cut before words only.

    `lengths`, `sentence` (D): their tokens and indexes. `firsts` (T): whether each token is the
    first of a word. Returns one line per window: sentence, offset in it, tokens kept, tokens
    covered, words. All sentences are cut at the same time, one window of each per round.
    """
    ends = np.cumsum(lengths)
    begins = ends - lengths
    # Where a window may end: before the first token of a word, and at the end of a sentence.
    borders = np.union1d(np.flatnonzero(firsts), ends)
    words_before = np.concatenate([[0], np.cumsum(firsts)])
    found = []
    active, at = np.arange(lengths.size), begins
    while active.size:
        limit = np.minimum(at + longest, ends[active])
        end = borders[np.searchsorted(borders, limit, side="right") - 1]
        # No border within the window: the word is longer, and the window ends with it.
        end = np.where(end > at, end, borders[np.searchsorted(borders, at, side="right")])
        kept = np.minimum(end - at, longest)
        words = words_before[end] - words_before[at]
        found.append(np.stack([sentence[active], at - begins[active], kept, end - at, words], 1))
        going = end < ends[active]
        active, at = active[going], end[going]
    return np.concatenate(found)
