"""Sentence pairs for next-sentence prediction (BERT) and sentence-order prediction (ALBERT).

Google's algorithm (`create_pretraining_data.py` of BERT and ALBERT), vectorised over all documents.
The chunk that would start at a sentence depends on that sentence alone: its length, where it is
split, whether its second half comes from another document. It is therefore computed for every
sentence of the corpus, each with its own random stream; `_walk` then selects the sentences at
which chunks really start.

Shapes: D documents, S sentences, C chunks (each becomes a pair).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64
from ptm.data.documents import Documents, Sentences
from ptm.data.pairs import Halves, Pairs, truncated
from ptm.errors import UserError
from ptm.rng import U64, draws, seed_of, stream_keys, substream, uniform

_SHORT, _TARGET, _SPLIT, _KIND, _DOCUMENT, _START, _FIRST, _SECOND = range(8)
_MORE_TO_EVALUATE = (
    "Raise data.held_out, set data.held_out: 0 (no held-out split), or add documents to the "
    "evaluation set"
)
_ZERO = np.zeros(1, dtype=np.int64)

FOLLOWS, RANDOM = 0, 1
"""Labels of next-sentence prediction: the second half follows the first, or is from elsewhere."""
IN_ORDER, SWAPPED = 0, 1
"""Labels of sentence-order prediction: halves in the order of the document, or swapped."""


def next_sentence_pairs(
    documents: Documents, *, longest: int, short_probability: float, seed: int
) -> Pairs:
    """Return the pairs of next-sentence prediction (Devlin et al. 2018, section 3.1, appendix A.2).

    A chunk takes sentences of a document until it has `longest` tokens or, in a fraction
    `short_probability` of the documents, a random number from 2 to `longest`. It is split into two
    halves at a random sentence. In half of the chunks, the second half is replaced by sentences of
    a random document with another text, up to the missing number of tokens; the next chunk then
    starts at the replaced sentences.

    Raises UserError if all documents have the same text or none has two sentences.
    """
    sentences, drawn = documents.sentences, _Draws(seed)
    check_has_sentences(documents, sentences, needed="pairs of sentences")
    others = _OtherDocuments(documents.hashes)
    if not others.exist_for_all:
        raise UserError(_no_other_document(documents, sentences.counts.size))
    # tokens (S + 1): tokens before each sentence. owner (S): document of each sentence.
    # targets, last (D): chunk size in tokens and last sentence of each document.
    tokens = np.concatenate([_ZERO, np.cumsum(sentences.lengths)])
    targets = _targets(sentences.counts.size, longest, short_probability, drawn)
    owner, last = sentences.owner, (sentences.first + sentences.counts - 1)
    # For the chunk that would start at each sentence (S): its last sentence, the first sentence
    # of its second half, and whether that half is random (always if the chunk is one sentence).
    every = np.arange(sentences.starts.size)
    ends = _chunk_ends(tokens, every, targets[owner], last[owner])
    splits = _splits(every, ends, drawn)
    alone = ends == every
    random = alone | (drawn.uniform(_KIND, every) < 0.5)
    chunks = _walk(sentences, np.where(random, splits, ends + 1))

    # From here on, arrays have one entry per chunk (C).
    owner, ends, splits, random = owner[chunks], ends[chunks], splits[chunks], random[chunks]
    first = Halves(sentences.starts[chunks], tokens[splits] - tokens[chunks])
    other = others.draw(owner, drawn.uniform(_DOCUMENT, chunks))
    # Second half, sentences [begin, after): from a random sentence of the other document on, as
    # many tokens as are missing; or the rest of the chunk.
    begin = sentences.first[other] + _whole(drawn.uniform(_START, chunks), sentences.counts[other])
    missing = np.maximum(1, targets[owner] - first.lengths)
    begin = np.where(random, begin, splits)
    after = np.where(random, _chunk_ends(tokens, begin, missing, last[other]), ends) + 1
    second = Halves(sentences.starts[begin], tokens[after] - tokens[begin])
    return _pairs(first, second, np.where(random, RANDOM, FOLLOWS), longest, chunks, drawn)


def sentence_order_pairs(
    documents: Documents, *, longest: int, short_probability: float, seed: int
) -> Pairs:
    """Return the pairs of sentence-order prediction (Lan et al. 2019, section 3.1).

    Chunks are as in `next_sentence_pairs`, but of at least two sentences: a last sentence that
    would be alone is added to the previous chunk. The halves are swapped in half of the chunks.
    Single-sentence documents give no pairs and are counted.

    Raises UserError if no document has two sentences.
    """
    sentences, drawn = documents.sentences, _Draws(seed)
    check_has_sentences(documents, sentences, needed="pairs of sentences")
    # Names and shapes as in `next_sentence_pairs`.
    tokens = np.concatenate([_ZERO, np.cumsum(sentences.lengths)])
    targets = _targets(sentences.counts.size, longest, short_probability, drawn)
    owner, last = sentences.owner, (sentences.first + sentences.counts - 1)
    every = np.arange(sentences.starts.size)
    # At least two sentences; a single last one joins the chunk.
    ends = np.maximum(_chunk_ends(tokens, every, targets[owner], last[owner]), every + 1)
    ends = np.where(ends >= last[owner] - 1, last[owner], ends)
    chunks = _walk(sentences, ends + 1)
    # Drop chunks of one sentence: single-sentence documents.
    chunks = chunks[ends[chunks] > chunks]

    ends = ends[chunks]
    splits = _splits(chunks, ends, drawn)
    halves = (
        Halves(sentences.starts[chunks], tokens[splits] - tokens[chunks]),
        Halves(sentences.starts[splits], tokens[ends + 1] - tokens[splits]),
    )
    swapped = drawn.uniform(_KIND, chunks) < 0.5
    first, second = (
        Halves(
            np.where(swapped, other.starts, own.starts),
            np.where(swapped, other.lengths, own.lengths),
        )
        for own, other in (halves, halves[::-1])
    )
    single = sentences.counts == 1
    return _pairs(
        first,
        second,
        np.where(swapped, SWAPPED, IN_ORDER),
        longest,
        chunks,
        drawn,
        single=int(single.sum()),
        single_tokens=int(sentences.lengths[sentences.first[single]].sum()),
    )


class _Draws:
    """One random stream per purpose and sentence (or document)."""

    def __init__(self, seed: int) -> None:
        self._seed = seed_of(seed, "pairs")

    def keys(self, purpose: int, numbers: I64) -> U64:
        return substream(stream_keys(self._seed, numbers), purpose)

    def uniform(self, purpose: int, numbers: I64) -> NDArray[np.float64]:
        return uniform(draws(self.keys(purpose, numbers), _ZERO))


@dataclass(frozen=True)
class _Range:
    """Ranges [begin, begin + size) of positions."""

    begin: I64
    size: I64


class _OtherDocuments:
    """Draws for a document a random one of another text, uniformly."""

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        # Sorted by hash, documents of the same text are a range: `_same` (D).
        self._order = np.argsort(hashes, kind="stable")
        ordered = hashes[self._order]
        self._same = _Range(
            np.searchsorted(ordered, hashes, side="left"),
            np.searchsorted(ordered, hashes, side="right")
            - np.searchsorted(ordered, hashes, side="left"),
        )

    @property
    def exist_for_all(self) -> bool:
        """Whether a document of another text exists for every document."""
        return bool((self._same.size < self._order.size).all())

    def draw(self, documents: I64, points: NDArray[np.float64]) -> I64:
        # A uniform position among all documents outside the range of equal ones.
        begin, size = self._same.begin[documents], self._same.size[documents]
        place = _whole(points, self._order.size - size)
        return np.asarray(self._order[np.where(place < begin, place, place + size)])


def _whole(points: NDArray[np.float64], bounds: I64) -> I64:
    """Scale points in [0, 1) to integers in [0, bound)."""
    return (points * bounds).astype(np.int64)


def _targets(documents: int, longest: int, short_probability: float, drawn: _Draws) -> I64:
    """Return the target number of tokens of each document's chunks (D)."""
    every = np.arange(documents)
    short = drawn.uniform(_SHORT, every) < short_probability
    lower = 2 + _whole(drawn.uniform(_TARGET, every), np.full(documents, longest - 1))
    return np.where(short, lower, longest)


def _chunk_ends(tokens: I64, begins: I64, targets: I64, last: I64) -> I64:
    """Return the last sentence of chunks that start at `begins`.

    It is the one with which a chunk reaches its target number of tokens, at most the document's
    `last`. `tokens` (S + 1): tokens before each sentence.
    """
    reached = np.searchsorted(tokens[1:], tokens[begins] + targets, side="left")
    return np.minimum(reached, last)


def _splits(begins: I64, ends: I64, drawn: _Draws) -> I64:
    """Draw the first sentence of each chunk's second half: `end + 1` if it is one sentence."""
    inner = np.maximum(1, ends - begins)
    return begins + 1 + _whole(drawn.uniform(_SPLIT, begins), inner)


def _walk(sentences: Sentences, following: I64) -> I64:
    """Return the sentences at which chunks start (C).

    `following` (S): start of the chunk after the one that starts at a sentence. Each round of the
    loop advances all unfinished documents by one chunk.
    """
    begins = np.zeros(following.size, dtype=bool)
    first_of_document = np.zeros(following.size + 1, dtype=bool)
    first_of_document[sentences.first] = first_of_document[-1] = True
    current = sentences.first
    while current.size:
        begins[current] = True
        current = following[current]
        current = current[~first_of_document[current]]
    return np.flatnonzero(begins)


def _pairs(
    first: Halves,
    second: Halves,
    labels: I64,
    longest: int,
    chunks: I64,
    drawn: _Draws,
    *,
    single: int = 0,
    single_tokens: int = 0,
) -> Pairs:
    """Truncate the halves to `longest` tokens and count what is left out.

    `single`, `single_tokens`: single-sentence documents and their tokens.
    """
    before = int(first.lengths.sum() + second.lengths.sum())
    first, second = truncated(
        first,
        second,
        longest,
        first_keys=drawn.keys(_FIRST, chunks),
        second_keys=drawn.keys(_SECOND, chunks),
    )
    cut = before - int(first.lengths.sum() + second.lengths.sum())
    return Pairs(
        first.starts,
        first.lengths,
        second.starts,
        second.lengths,
        labels.astype(np.int64),
        np.array([single, single_tokens, cut], dtype=np.int64),
    )


def check_has_sentences(documents: Documents, sentences: Sentences, *, needed: str) -> None:
    """Raise UserError if no document has two sentences.

    `needed`: what the objective needs and cannot find, as a noun phrase for the message.
    """
    if not sentences.counts.size or int(sentences.counts.max()) > 1:
        return
    if documents.held_out:
        fix = _MORE_TO_EVALUATE
    elif documents.store.info.layout == "documents":
        fix = "Set data.sentence_splitting: true and run `ptm preprocess RECIPE --fresh`"
    else:
        fix = (
            "In layout `sentences` a line is a sentence and an empty line ends a document. If "
            "your lines are documents, set data.layout: documents and data.sentence_splitting: true"
        )
    raise UserError(
        f"{documents.store.folder}: each document is a single sentence "
        f"({_counted(documents, sentences.counts.size)}), but the objective needs {needed}. "
        f"{fix}."
    )


def _no_other_document(documents: Documents, count: int) -> str:
    """The message for a corpus without two documents of different text."""
    found = (
        f"{documents.store.folder}: next-sentence prediction takes sentences from other documents, "
        f"but all documents have the same text ({_counted(documents, count)}). "
    )
    if documents.held_out:
        return f"{found}{_MORE_TO_EVALUATE}."
    return (
        found + "Add documents to the corpus. In layout `sentences` an empty line ends a document."
    )


def _counted(documents: Documents, count: int) -> str:
    return f"documents to {'evaluate on' if documents.held_out else 'train on'}: {count}"
