"""Index of source-target pairs, truncated to fit into rows. Shapes: E examples (pairs)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64
from ptm.data.documents import Sentences
from ptm.data.examples import Examples, TokenSpans
from ptm.store.reader import TokenStore

_SIDES = ("source", "target")


@dataclass(frozen=True)
class SourceTargetPairs(Examples):
    """Each example is a range of tokens of the source and one of the target (E each).

    `cut` (4): number of pairs with a truncated source, tokens cut off, and the same for targets.
    """

    source_starts: I64
    source_lengths: I64
    target_starts: I64
    target_lengths: I64
    cut: I64

    @property
    def lengths(self) -> I64:
        return np.asarray(self.source_lengths) + np.asarray(self.target_lengths)

    @property
    def sides(self) -> I64:
        """Text tokens of source and target (E, 2), without special tokens."""
        return np.stack([self.source_lengths, self.target_lengths], axis=1)

    @property
    def left_out(self) -> Mapping[str, int]:
        return {
            f"{side} tokens cut off (pairs too long for a row: {pairs:,})": int(tokens)
            for side, (pairs, tokens) in zip(_SIDES, self.cut.reshape(2, 2).tolist(), strict=True)
            if pairs
        }

    def texts(self, store: TokenStore, index: I64) -> TokenSpans:
        """Read the tokens of the examples `index`, source and target of each.

        Raises UserError for token ids outside the vocabulary of their side.
        """
        starts = np.stack([self.source_starts[index], self.target_starts[index]], axis=1)
        parts = np.stack([self.source_lengths[index], self.target_lengths[index]], axis=1)
        texts = TokenSpans(store.tokens(starts.ravel(), parts.ravel()), parts, None)
        sources, targets = split_sides(texts)
        store.check_token_ids(sources.tokens, store.info.vocabulary_size)
        store.check_token_ids(targets.tokens, store.info.target_size)
        return texts


def side_lengths(sentences: Sentences) -> I64:
    """Return the tokens of source and target of each pair (E, 2)."""
    assert (sentences.counts == 2).all(), "a pair has two sides"
    return sentences.lengths.reshape(-1, 2)


def truncate(sentences: Sentences, kept: I64) -> SourceTargetPairs:
    """Return pairs truncated at their ends to `kept` (E, 2) tokens per side."""
    starts, cut = sentences.starts.reshape(-1, 2), side_lengths(sentences) - kept
    return SourceTargetPairs(
        source_starts=starts[:, 0],
        source_lengths=kept[:, 0],
        target_starts=starts[:, 1],
        target_lengths=kept[:, 1],
        cut=np.stack([(cut > 0).sum(axis=0), cut.sum(axis=0)], axis=1).ravel(),
    )


def share_budget(lengths: I64, room: int) -> I64:
    """Return the tokens to keep of source and target (E, 2) so that both fit into `room` tokens.

    Each side may fill half of the room; what one side does not need goes to the other. `room` is
    at least 2.
    """
    half = np.array([room - room // 2, room // 2])
    others = lengths[:, ::-1]
    return np.asarray(np.minimum(lengths, np.maximum(half, room - others)))


def split_sides(texts: TokenSpans) -> tuple[TokenSpans, TokenSpans]:
    """Split pairs into sources and targets, each with one part per example."""
    target = np.repeat(np.tile([False, True], len(texts.part_lengths)), texts.part_lengths.ravel())
    return (
        TokenSpans(texts.tokens[~target], texts.part_lengths[:, :1], None),
        TokenSpans(texts.tokens[target], texts.part_lengths[:, 1:], None),
    )
