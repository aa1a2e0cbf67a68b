"""Index of groups of texts that are embedded one by one: pairs, triplets, or a text twice.

Shapes: E examples, K texts per example.
"""

from __future__ import annotations

import numpy as np

from ptm.arrays import I64, index_within
from ptm.data.documents import Documents
from ptm.data.labelled import LabelledTexts
from ptm.data.two_sides import share_budget


def text_groups(documents: Documents, room: int, *, longest: int | None) -> LabelledTexts:
    """Return one example per document, with all its texts, cut at their ends.

    `room`: tokens of a row for all texts of an example and the two special tokens of each.
    `longest`: tokens of one text with its special tokens; None: no limit. A text of length 0 is
    absent. The labels are 0 if the store has none.
    """
    sentences = documents.sentences
    texts = int(sentences.counts.max(initial=1))
    owner = sentences.owner
    cell = owner, index_within(owner)
    starts, lengths = (np.zeros((sentences.counts.size, texts), dtype=np.int64) for _ in range(2))
    starts[cell], lengths[cell] = sentences.starts, sentences.lengths
    labelled = documents.store.info.labels is not None
    labels = documents.labels if labelled else np.zeros(len(lengths), dtype=np.int64)
    return _cut(starts, lengths, labels, room, longest)


def repeated_texts(documents: Documents, room: int, *, longest: int | None) -> LabelledTexts:
    """Return one example per sentence: the text twice (Gao et al. 2021, section 3)."""
    sentences = documents.sentences
    starts, lengths = (
        np.repeat(values[:, None], 2, axis=1) for values in (sentences.starts, sentences.lengths)
    )
    return _cut(starts, lengths, np.zeros(len(lengths), dtype=np.int64), room, longest)


def _cut(starts: I64, lengths: I64, labels: I64, room: int, longest: int | None) -> LabelledTexts:
    """Cut texts (E, K) of which those of length 0 are absent."""
    bounded = lengths if longest is None else np.minimum(lengths, longest - 2)
    rest = room - 2 * (lengths > 0).sum(axis=1)
    kept = bounded
    if kept.shape[1] == 2 and (rest == room - 4).all():
        kept = share_budget(bounded, room - 4)
    elif kept.size:
        kept = np.minimum(bounded, fair_share(bounded, rest)[:, None])
    removed = (lengths - kept).sum(axis=1)
    return LabelledTexts(
        starts=starts,
        part_lengths=kept,
        labels=labels,
        cut=np.array([(removed > 0).sum(), removed.sum()], dtype=np.int64),
    )


def fair_share(lengths: I64, room: I64) -> I64:
    """Return the most tokens that a text of each example may have, so that all fit into `room` (E).

    Texts (E, K) that need less than an equal share leave the rest to the longer ones.
    """
    texts = lengths.shape[1]
    ordered = np.sort(lengths, axis=1)
    before = np.cumsum(ordered, axis=1) - ordered
    # What each text may have if all shorter ones are whole and the longer ones get as much.
    shares = (room[:, None] - before) // np.arange(texts, 0, -1)
    first = np.argmax(ordered > shares, axis=1)
    fits = ordered.sum(axis=1) <= room
    return np.asarray(np.where(fits, ordered[:, -1], shares[np.arange(len(shares)), first]))
