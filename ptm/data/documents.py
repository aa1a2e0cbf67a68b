"""Some documents of a store: which are held out, and their ranges of tokens or sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum, owner_of
from ptm.store.format import TokenStore


@dataclass(frozen=True)
class Sentences:
    """The sentences of D documents, one document after another.

    `starts`, `lengths` (S): where each lies in the store, in tokens; `counts` (D): how many each
    document has, at least one.
    """

    starts: I64
    lengths: I64
    counts: I64

    @property
    def first(self) -> I64:
        """The number of every document's first sentence (D)."""
        return exclusive_cumsum(self.counts)

    @property
    def owner(self) -> I64:
        """The document of every sentence (S)."""
        return owner_of(self.counts)


class Documents:
    """The documents of `store` that `chosen` (a flag a document) names; all, if left out.

    `held_out`: whether they are those kept for evaluation; what a user can do about them differs.
    """

    def __init__(
        self,
        store: TokenStore,
        chosen: NDArray[np.bool_] | None = None,
        *,
        held_out: bool = False,
    ) -> None:
        self.store = store
        self.held_out = held_out
        self._chosen = chosen

    @property
    def ranges(self) -> tuple[I64, I64]:
        """Global start and length in tokens of every document."""
        starts, lengths = self.store.document_ranges
        if self._chosen is None:
            return starts, lengths
        return starts[self._chosen], lengths[self._chosen]

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """A hash of every document's token ids."""
        hashes = self.store.document_hashes
        return hashes if self._chosen is None else hashes[self._chosen]

    @property
    def sentences(self) -> Sentences:
        """Their sentences."""
        starts, lengths, counts = self.store.sentence_ranges
        if self._chosen is None:
            return Sentences(starts, lengths, counts)
        mine = np.repeat(self._chosen, counts)
        return Sentences(starts[mine], lengths[mine], counts[self._chosen])


def held_out_documents(hashes: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """Which documents are held out: those with the smallest hashes.

    `share` of the distinct documents, at least one where `share` is positive; a function of the
    documents alone, so that every run over a store holds out the same.
    """
    if share <= 0 or hashes.size == 0:
        return np.zeros(hashes.shape, dtype=bool)
    distinct = np.unique(hashes)
    count = min(max(1, round(share * distinct.size)), distinct.size)
    held_out: NDArray[np.bool_] = hashes <= distinct[count - 1]
    return held_out
