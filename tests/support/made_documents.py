"""Synthetic documents that are given by the lengths of their sentences alone."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from ptm.data.documents import Documents, Sentences

if TYPE_CHECKING:
    from numpy.typing import NDArray


class MadeDocuments(Documents):
    """Documents with sentences of the given lengths; the tokens are numbered from 0."""

    def __init__(
        self,
        corpus: Sequence[Sequence[int]],
        *,
        hashes: Sequence[int] | None = None,
        held_out: bool = False,
    ) -> None:
        self.corpus = corpus
        self.held_out = held_out
        self._hashes = range(len(corpus)) if hashes is None else hashes
        info = SimpleNamespace(layout="sentences")
        self.store = SimpleNamespace(folder="made", info=info)  # type: ignore[assignment]
        lengths = np.array([size for document in corpus for size in document], dtype=np.int64)
        self._sentences = Sentences(
            np.cumsum(lengths) - lengths,
            lengths,
            np.array([len(document) for document in corpus], dtype=np.int64),
        )
        self._ends = np.cumsum([sum(document) for document in corpus])

    @property
    def sentences(self) -> Sentences:
        return self._sentences

    @property
    def hashes(self) -> NDArray[np.uint64]:
        return np.array(self._hashes, dtype=np.uint64)

    @property
    def tokens(self) -> int:
        return int(self._ends[-1])

    def document_of(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self._ends, tokens, side="right")

    def covered(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """(tokens,): the number of ranges that contain each token."""
        steps = np.zeros(self.tokens + 1, dtype=np.int64)
        np.add.at(steps, starts, 1)
        np.add.at(steps, starts + lengths, -1)
        return np.cumsum(steps)[:-1]
