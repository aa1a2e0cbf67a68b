"""Documents to pairs of texts: next sentences (BERT) and the order of sentences (ALBERT).

Google's recipe (`create_pretraining_data.py` of BERT and ALBERT), for all documents at once. What
begins at a sentence depends on that sentence alone: how many sentences a chunk has, where it is
split, whether its second half is another's. So it is computed for every sentence of the corpus,
each with its own random stream, and then all documents are walked in step from chunk to chunk.
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
    "raise data.held_out (0: hold out none), or give an evaluation set more documents"
)
_ZERO = np.zeros(1, dtype=np.int64)

FOLLOWS, RANDOM = 0, 1
"""Labels of next-sentence prediction: whether the second half follows the first."""
IN_ORDER, SWAPPED = 0, 1
"""Labels of sentence-order prediction."""


def next_sentence_pairs(
    documents: Documents, *, longest: int, short_probability: float, seed: int
) -> Pairs:
    """Chunks of sentences, split; half of them with a second half from another document.

    Devlin et al. 2018, section 3.1 and appendix A.2. A chunk takes sentences of a document until
    it has `longest` tokens, or, in a share `short_probability` of the documents, a number drawn
    from 2 to `longest`. Where the second half comes from another document (from there as many
    sentences as are missing), the sentences it replaces begin the next chunk. Documents with the
    same text are not "another".

    Raises UserError where there is no other document, or no document of two sentences.
    """
    sentences, drawn = documents.sentences, _Draws(seed)
    refuse_unstructured(documents, sentences, lacking="pairs of sentences")
    others = _Others(documents.hashes)
    if not others.everywhere:
        raise UserError(_alone(documents, sentences.counts.size))
    tokens = np.concatenate([_ZERO, np.cumsum(sentences.lengths)])
    targets = _targets(sentences.counts.size, longest, short_probability, drawn)
    owner, last = sentences.owner, (sentences.first + sentences.counts - 1)
    every = np.arange(sentences.starts.size)
    ends = _chunk_ends(tokens, every, targets[owner], last[owner])
    splits = _splits(every, ends, drawn)
    alone = ends == every
    random = alone | (drawn.uniform(_KIND, every) < 0.5)
    chunks = _walk(sentences, np.where(random, splits, ends + 1))

    owner, ends, splits, random = owner[chunks], ends[chunks], splits[chunks], random[chunks]
    first = Halves(sentences.starts[chunks], tokens[splits] - tokens[chunks])
    other = others.draw(owner, drawn.uniform(_DOCUMENT, chunks))
    begin = sentences.first[other] + _whole(drawn.uniform(_START, chunks), sentences.counts[other])
    missing = np.maximum(1, targets[owner] - first.lengths)
    begin = np.where(random, begin, splits)
    after = np.where(random, _chunk_ends(tokens, begin, missing, last[other]), ends) + 1
    second = Halves(sentences.starts[begin], tokens[after] - tokens[begin])
    return _pairs(first, second, np.where(random, RANDOM, FOLLOWS), longest, chunks, drawn)


def sentence_order_pairs(
    documents: Documents, *, longest: int, short_probability: float, seed: int
) -> Pairs:
    """Chunks of at least two sentences of one document, split, in half of them the halves swapped.

    Lan et al. 2019, section 3.1. Chunks are as long as in next-sentence prediction; a last sentence
    that would be left alone belongs to the chunk before it. Documents of one sentence give nothing
    and are counted.

    Raises UserError where there is no document of two sentences.
    """
    sentences, drawn = documents.sentences, _Draws(seed)
    refuse_unstructured(documents, sentences, lacking="pairs of sentences")
    tokens = np.concatenate([_ZERO, np.cumsum(sentences.lengths)])
    targets = _targets(sentences.counts.size, longest, short_probability, drawn)
    owner, last = sentences.owner, (sentences.first + sentences.counts - 1)
    every = np.arange(sentences.starts.size)
    ends = np.maximum(_chunk_ends(tokens, every, targets[owner], last[owner]), every + 1)
    ends = np.where(ends >= last[owner] - 1, last[owner], ends)
    chunks = _walk(sentences, ends + 1)
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
    lonely = sentences.counts == 1
    return _pairs(
        first,
        second,
        np.where(swapped, SWAPPED, IN_ORDER),
        longest,
        chunks,
        drawn,
        lonely=int(lonely.sum()),
        lonely_tokens=int(sentences.lengths[sentences.first[lonely]].sum()),
    )


class _Draws:
    """A random stream for every sentence (and, under other purposes, for every document)."""

    def __init__(self, seed: int) -> None:
        self._seed = seed_of(seed, "pairs")

    def keys(self, purpose: int, numbers: I64) -> U64:
        return substream(stream_keys(self._seed, numbers), purpose)

    def uniform(self, purpose: int, numbers: I64) -> NDArray[np.float64]:
        return uniform(draws(self.keys(purpose, numbers), _ZERO))


@dataclass(frozen=True)
class _Range:
    """Places [begin, begin + size) in an order."""

    begin: I64
    size: I64


class _Others:
    """Draws another document, uniformly among those of another text."""

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        # In the order of hashes, the documents of one text stand together.
        self._order = np.argsort(hashes, kind="stable")
        ordered = hashes[self._order]
        self._same = _Range(
            np.searchsorted(ordered, hashes, side="left"),
            np.searchsorted(ordered, hashes, side="right")
            - np.searchsorted(ordered, hashes, side="left"),
        )

    @property
    def everywhere(self) -> bool:
        """Whether every document has another."""
        return bool((self._same.size < self._order.size).all())

    def draw(self, documents: I64, points: NDArray[np.float64]) -> I64:
        begin, size = self._same.begin[documents], self._same.size[documents]
        place = _whole(points, self._order.size - size)
        return np.asarray(self._order[np.where(place < begin, place, place + size)])


def _whole(points: NDArray[np.float64], bounds: I64) -> I64:
    """Points in [0, 1) as whole numbers in [0, bound)."""
    return (points * bounds).astype(np.int64)


def _targets(documents: int, longest: int, short_probability: float, drawn: _Draws) -> I64:
    """Tokens that the chunks of every document are to have."""
    every = np.arange(documents)
    short = drawn.uniform(_SHORT, every) < short_probability
    lower = 2 + _whole(drawn.uniform(_TARGET, every), np.full(documents, longest - 1))
    return np.where(short, lower, longest)


def _chunk_ends(tokens: I64, begins: I64, targets: I64, last: I64) -> I64:
    """The sentence with which `targets` tokens from the start of `begins` are reached, or `last`.

    `tokens` (S + 1): tokens before every sentence.
    """
    reached = np.searchsorted(tokens[1:], tokens[begins] + targets, side="left")
    return np.minimum(reached, last)


def _splits(begins: I64, ends: I64, drawn: _Draws) -> I64:
    """The first sentence of the second half; after the chunk, where it has one sentence."""
    inner = np.maximum(1, ends - begins)
    return begins + 1 + _whole(drawn.uniform(_SPLIT, begins), inner)


def _walk(sentences: Sentences, following: I64) -> I64:
    """The sentences at which chunks begin; the chunk after that of s begins at `following[s]`.

    All documents a chunk further in each round, those that have ended left out.
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
    lonely: int = 0,
    lonely_tokens: int = 0,
) -> Pairs:
    """Truncated and counted."""
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
        np.array([lonely, lonely_tokens, cut], dtype=np.int64),
    )


def refuse_unstructured(documents: Documents, sentences: Sentences, *, lacking: str) -> None:
    """Raise UserError where no document has two sentences, so that it is without `lacking`."""
    if not sentences.counts.size or int(sentences.counts.max()) > 1:
        return
    if documents.held_out:
        fix = _MORE_TO_EVALUATE
    elif documents.store.info.layout == "documents":
        fix = "set data.sentence_splitting: true and run `ptm preprocess RECIPE --fresh`"
    else:
        fix = (
            "in the layout `sentences` a line is a sentence and an empty line ends a document. If "
            "your lines are documents, set data.layout: documents and data.sentence_splitting: true"
        )
    raise UserError(
        f"{documents.store.folder}: each of the {_counted(documents, sentences.counts.size)} is a "
        f"single sentence, without {lacking}: {fix}."
    )


def _alone(documents: Documents, count: int) -> str:
    """What to say where a document has no other beside it."""
    found = (
        f"{documents.store.folder}: next-sentence prediction takes sentences of other documents, "
        f"and among the {_counted(documents, count)} there are not two of different text: "
    )
    if documents.held_out:
        return f"{found}{_MORE_TO_EVALUATE}."
    return found + "in the layout `sentences` an empty line ends a document; give more documents."


def _counted(documents: Documents, count: int) -> str:
    return (
        f"{count} {'documents to evaluate on' if documents.held_out else 'documents to train on'}"
    )
