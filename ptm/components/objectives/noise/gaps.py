"""Gap sentences, the noise of PEGASUS (Zhang et al. 2019, 1912.08777, section 3.1).

Whole sentences are removed, one mask token takes the place of each; the decoder predicts them.

Shapes: E texts, K sentences per text at most, N tokens of all texts. `parts` (E, K): tokens of each
sentence, 0 after the last one. Flags (E, K) mark the removed sentences (gaps).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, Flags, index_within, owner_of
from ptm.components.objectives.noise.noised_text import (
    NoisedTexts,
    Spans,
    noise_token_counts,
    replace_spans,
)
from ptm.components.objectives.noise.rouge import WordCounts
from ptm.rng import U64, draws, substream, uniform

_GAPS = 0


def gap_counts(sentences: I64, rate: float) -> I64:
    """Return the number of sentences to remove from each text (E): at least one, never all."""
    return noise_token_counts(sentences, rate)


def max_gap_side_lengths(lengths: I64, sentences: I64, rate: float) -> I64:
    """Return the maximum tokens (E, 2) of source and target over all choices of sentences.

    `lengths` (S): tokens of all sentences. `sentences` (E): number of sentences per text.
    """
    counts = gap_counts(sentences, rate)
    owner = owner_of(sentences)
    # Sentences of each text by ascending length, and the rank of each.
    ordered = lengths[np.lexsort((lengths, owner))]
    number = index_within(owner)

    def total(chosen: Flags) -> I64:
        weights = np.where(chosen, ordered, 0)
        return np.bincount(owner, weights, minlength=sentences.size).astype(np.int64)

    # Longest target: the longest sentences are removed. Longest source: the shortest are.
    longest = total(number >= (sentences - counts)[owner])
    kept = total(number >= counts[owner])
    return np.stack([kept + counts, longest], axis=1)


def lead_sentences(parts: I64, rate: float) -> Flags:
    """Return flags (E, K) of the first sentences of each text."""
    present = parts > 0
    counts = gap_counts(present.sum(axis=1), rate)[:, None]
    return present & (np.cumsum(present, axis=1) <= counts)


def random_sentences(parts: I64, rate: float, keys: U64) -> Flags:
    """Return flags (E, K) of random sentences, all equally likely."""
    present = parts > 0
    scores = uniform(draws(substream(keys, _GAPS)[:, None], np.arange(parts.shape[1])))
    return _top_k(scores, present, gap_counts(present.sum(axis=1), rate))


def principal_sentences(
    tokens: I64, parts: I64, rate: float, *, sequential: bool = False, unique: bool = False
) -> Flags:
    """Return flags (E, K) of the sentences with the best ROUGE-1 F1 against the rest of the text.

    Token ids count as words. By default each sentence is scored independently against all others
    (the paper's Ind). `sequential`: sentences are added one by one, each time the one with which
    the selection scores best against the rest (Seq). `unique`: every distinct token is counted once
    (Uniq; default Orig). The paper trains its large models with Ind-Orig. Ties: the earlier
    sentence is chosen.
    """
    present = parts > 0
    counts = gap_counts(present.sum(axis=1), rate)
    words = WordCounts.of(tokens, parts)
    nothing = np.zeros(words.total.size, dtype=np.int64)
    if not sequential:
        return _top_k(words.scores(nothing, unique=unique), present, counts)
    taken, selected = np.zeros(parts.shape, dtype=bool), nothing
    for step in range(int(counts.max(initial=0))):
        scores = words.scores(selected, unique=unique)
        new = _top_k(scores, present & ~taken, (counts > step).astype(np.int64))
        taken |= new
        selected = words.add_sentences(selected, new)
    return taken


def remove_sentences(tokens: I64, parts: I64, gaps: Flags, *, mask_id: int) -> NoisedTexts:
    """Remove the sentences flagged in `gaps` (E, K).

    Source: the text with one mask token per removed sentence. Target: the removed sentences.
    """
    ends = np.cumsum(parts.ravel()).reshape(parts.shape)
    owner, column = np.nonzero(gaps)
    spans = Spans(owner, (ends - parts)[owner, column], parts[owner, column])
    masks = np.full(owner.size, mask_id, dtype=np.int64)
    source, source_lengths = replace_spans(tokens, parts.sum(axis=1), spans, masks)
    return NoisedTexts(
        source, source_lengths, tokens[spans.tokens], spans.noise_counts(parts.shape[0])
    )


def _top_k(scores: NDArray[np.float64], allowed: Flags, counts: I64) -> Flags:
    """Return flags (E, K) of the `counts` (E) best allowed scores; ties: the earlier is chosen."""
    order = np.argsort(np.where(allowed, -scores, np.inf), axis=1, kind="stable")
    best = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(best, order, np.arange(scores.shape[1]) < counts[:, None], axis=1)
    return best
