"""Rows of sentence pairs, for any sentence-pair objective."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptm.components.objectives.base import MicroBatch, RandomSource
from ptm.components.objectives.sentence_pairs import SentencePairs
from ptm.data.documents import Documents
from ptm.data.packing import PackedRows, RowSize, one_per_row, pack_sides
from ptm.data.pairs import Pairs
from ptm.data.placement import place
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    from ptm.store.reader import TokenStore
    from ptm.text.vocabulary import Vocabulary

LENGTH = 64
SIZE = RowSize(LENGTH, LENGTH)


class PairRows:
    """The rows that a sentence-pair objective makes of a store."""

    def __init__(
        self,
        store: TokenStore,
        vocabulary: Vocabulary,
        objective: SentencePairs,
        *,
        packing: bool = True,
    ) -> None:
        self.store = store
        self.vocabulary = vocabulary
        self.objective = objective
        examples = objective.index(
            Documents(store), size=SIZE, vocabularies=Vocabularies.shared(vocabulary), seed=7
        )
        assert isinstance(examples, Pairs)
        self.pairs = examples
        self.lengths = objective.row_lengths(examples)
        count = len(self.lengths)
        self.rows: PackedRows = pack_sides(self.lengths, SIZE) if packing else one_per_row(count)

    def batch(self, rows: list[int] | range, *, epoch: int = 0) -> MicroBatch:
        chosen = np.array(rows, dtype=np.int64)
        placement = place(
            self.rows, chosen, np.full(chosen.size, epoch), lengths=self.lengths, size=SIZE
        )
        return self.objective.collate(
            self.pairs.texts(self.store, placement.example),
            placement,
            vocabularies=Vocabularies.shared(self.vocabulary),
            random_source=RandomSource(7, "train"),
        )

    def crowded_rows(self, count: int) -> list[int]:
        """The rows with the most examples."""
        sizes = np.diff(self.rows.ends, prepend=0)
        return np.argsort(-sizes, kind="stable")[:count].tolist()
