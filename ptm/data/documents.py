"""Selected documents of a store, their ranges of tokens and sentences, and the held-out split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum, owner_of
from ptm.store.reader import TokenStore


@dataclass(frozen=True)
class Sentences:
    """The S sentences of D documents, in order.

    `starts`, `lengths` (S): range of each in the store, in tokens. `counts` (D): sentences per
    document, at least 1.
    """

    starts: I64
    lengths: I64
    counts: I64

    @property
    def first(self) -> I64:
        """Index of each document's first sentence (D)."""
        return exclusive_cumsum(self.counts)

    @property
    def owner(self) -> I64:
        """Index of each sentence's document (S)."""
        return owner_of(self.counts)


class Documents:
    """The documents of `store` with `chosen` (one flag per document); all by default.

    `held_out`: whether these are the evaluation documents; used in error messages only.
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
        """Start in the store and length of each document (D each), in tokens."""
        starts, lengths = self.store.document_ranges
        if self._chosen is None:
            return starts, lengths
        return starts[self._chosen], lengths[self._chosen]

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """Hash of each document's token ids (D)."""
        hashes = self.store.document_hashes
        return hashes if self._chosen is None else hashes[self._chosen]

    @property
    def labels(self) -> I64:
        """Class index of each document (D), with layout `labelled`."""
        labels = self.store.labels
        return labels if self._chosen is None else labels[self._chosen]

    @property
    def indexes(self) -> I64:
        """Index of each of these documents (D) in the store."""
        if self._chosen is None:
            return np.arange(self.store.info.documents, dtype=np.int64)
        return np.flatnonzero(self._chosen)

    @property
    def sentences(self) -> Sentences:
        """The sentences of these documents."""
        starts, lengths, counts = self.store.sentence_ranges
        if self._chosen is None:
            return Sentences(starts, lengths, counts)
        mine = np.repeat(self._chosen, counts)
        return Sentences(starts[mine], lengths[mine], counts[self._chosen])


def held_out_documents(hashes: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """Return which documents are held out: those with the smallest hashes (D flags).

    `share`: fraction of the distinct documents; at least one is held out if it is positive.
    Depends on the documents alone, so every run over a store holds out the same ones.
    """
    if share <= 0 or hashes.size == 0:
        return np.zeros(hashes.shape, dtype=bool)
    distinct = np.unique(hashes)
    count = min(max(1, round(share * distinct.size)), distinct.size)
    held_out: NDArray[np.bool_] = hashes <= distinct[count - 1]
    return held_out
