"""Pairs of source and target as an index: what of each side goes into a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64
from ptm.data.documents import Sentences
from ptm.data.examples import Examples, Texts
from ptm.store.format import TokenStore

_SIDES = ("source", "target")


@dataclass(frozen=True)
class TwoSides(Examples):
    """Each example is a range of tokens of the source and one of the target (E each).

    `cut` (4): pairs whose source was too long and the tokens that were left out at its end, then
    the same of targets.
    """

    source_starts: I64
    source_lengths: I64
    target_starts: I64
    target_lengths: I64
    cut: I64

    @property
    def lengths(self) -> I64:
        """Text tokens of every example, both sides together."""
        return np.asarray(self.source_lengths) + np.asarray(self.target_lengths)

    @property
    def sides(self) -> I64:
        """Text tokens of the source and of the target (E, 2)."""
        return np.stack([self.source_lengths, self.target_lengths], axis=1)

    @property
    def left_out(self) -> Mapping[str, int]:
        """The tokens at the ends of what is too long for a row."""
        return {
            f"{side} tokens at the ends of {pairs:,} pairs too long for a row": int(tokens)
            for side, (pairs, tokens) in zip(_SIDES, self.cut.reshape(2, 2).tolist(), strict=True)
            if pairs
        }

    def texts(self, store: TokenStore, index: I64) -> Texts:
        """The tokens of the examples `index`, source and target of each.

        Raises UserError for ids that the vocabulary of their side does not have.
        """
        starts = np.stack([self.source_starts[index], self.target_starts[index]], axis=1)
        parts = np.stack([self.source_lengths[index], self.target_lengths[index]], axis=1)
        texts = Texts(store.tokens(starts.ravel(), parts.ravel()), parts, None)
        sources, targets = sides_of(texts)
        store.refuse_foreign(sources.tokens, store.info.vocabulary_size)
        store.refuse_foreign(targets.tokens, store.info.target_size)
        return texts


def side_lengths(sentences: Sentences) -> I64:
    """Tokens of source and target of every pair (E, 2)."""
    assert (sentences.counts == 2).all(), "a pair has two sides"
    return sentences.lengths.reshape(-1, 2)


def beginnings(sentences: Sentences, kept: I64) -> TwoSides:
    """Of every pair as many tokens as `kept` (E, 2) says, from the beginning of each side."""
    starts, cut = sentences.starts.reshape(-1, 2), side_lengths(sentences) - kept
    return TwoSides(
        source_starts=starts[:, 0],
        source_lengths=kept[:, 0],
        target_starts=starts[:, 1],
        target_lengths=kept[:, 1],
        cut=np.stack([(cut > 0).sum(axis=0), cut.sum(axis=0)], axis=1).ravel(),
    )


def shared_room(lengths: I64, room: int) -> I64:
    """How much of source and target (E, 2) goes into `room` tokens, at least 2.

    Each side may fill half of them, and what one does not need goes to the other.
    """
    half = np.array([room - room // 2, room // 2])
    others = lengths[:, ::-1]
    return np.asarray(np.minimum(lengths, np.maximum(half, room - others)))


def sides_of(texts: Texts) -> tuple[Texts, Texts]:
    """The sources and the targets, each as texts of one part."""
    target = np.repeat(np.tile([False, True], len(texts.parts)), texts.parts.ravel())
    return (
        Texts(texts.tokens[~target], texts.parts[:, :1], None),
        Texts(texts.tokens[target], texts.parts[:, 1:], None),
    )
