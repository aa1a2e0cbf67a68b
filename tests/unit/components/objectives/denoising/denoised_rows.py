"""Rows with encoder and decoder side, for any denoising objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ptm.components.objectives.base import MicroBatch, RandomSource
from ptm.data.documents import Documents
from ptm.data.packing import RowSize, one_per_row, pack_sides
from ptm.data.placement import place
from ptm.loading.batches import step_batch
from ptm.model.build import build_plan
from ptm.model.initial_weights import initialise
from ptm.model.plain_model import PlainModel
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabularies, Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptm.components.objectives.denoising import Denoising
    from ptm.store.reader import TokenStore

SIZE = RowSize(64, 64)
LAYERS = {"type": "transformer", "layers": 2, "hidden_size": 32, "heads": 2}
BLOCK = ModelBlock.model_validate(
    {
        "dropout": 0.0,
        "embedding": {"parts": ["word", "position"], "positions": 64},
        "encoder": {**LAYERS, "feed_forward_size": 64},
        "decoder": {**LAYERS, "feed_forward_size": 64},
    }
)


@dataclass(frozen=True)
class Example:
    """One example of a batch: encoder input, decoder input and targets, without padding."""

    source: list[int]
    read: list[int]
    given: list[int]


class DenoisedRows:
    """The rows that an objective makes of a store."""

    def __init__(
        self,
        store: TokenStore,
        vocabulary: Vocabulary,
        objective: Denoising,
        *,
        size: RowSize = SIZE,
        packing: bool = True,
    ) -> None:
        self.store, self.vocabulary = store, vocabulary
        self.objective, self.size = objective, size
        self.vocabularies = Vocabularies.shared(vocabulary)
        index = objective.index(Documents(store), size=size, vocabularies=self.vocabularies, seed=7)
        # Serialise, as when the index is read from disk.
        self.examples = objective.index_type.from_arrays(index.to_arrays())
        self.lengths = objective.row_lengths(self.examples)
        self.rows = pack_sides(self.lengths, size) if packing else one_per_row(len(self.lengths))

    def batch(self, rows: list[int] | range, *, epoch: int = 0, seed: int = 7) -> MicroBatch:
        chosen = np.array(rows, dtype=np.int64)
        placement = place(
            self.rows, chosen, np.full(chosen.size, epoch), lengths=self.lengths, size=self.size
        )
        return self.objective.collate(
            self.examples.texts(self.store, placement.example),
            placement,
            vocabularies=self.vocabularies,
            random_source=RandomSource(seed, "train"),
        )

    def members(self, rows: list[int] | range) -> NDArray[np.int64]:
        """The indexes of the examples in these rows."""
        return self.rows.members(np.array(rows, dtype=np.int64))[0]

    def texts(self, rows: list[int] | range) -> list[list[int]]:
        """The texts of the examples in these rows, as stored."""
        texts = self.examples.texts(self.store, self.members(rows))
        return [part.tolist() for part in np.split(texts.tokens, np.cumsum(texts.lengths)[:-1])]

    def all_rows(self) -> range:
        return range(len(self.rows))

    def long_rows(self) -> list[int]:
        """The 30 rows whose first examples are longest."""
        first = self.members(self.all_rows())[np.append(0, self.rows.ends[:-1])]
        return np.argsort(-self.lengths[first, 1], kind="stable")[:30].tolist()

    def crowded_rows(self, count: int) -> list[int]:
        """The rows with the most examples."""
        sizes = np.diff(self.rows.ends, prepend=0)
        return np.argsort(-sizes, kind="stable")[:count].tolist()

    def tensors(self, rows: list[int]) -> dict[str, torch.Tensor]:
        return dict(step_batch([self.batch(rows)], self.objective).micro_batches[0])

    def model(self, *outputs: str) -> PlainModel:
        plan = build_plan(
            BLOCK,
            self.objective,
            vocabulary_size=self.vocabulary.size,
            outputs=outputs or None,
        )
        model = PlainModel(plan)
        initialise(model, BLOCK, seed=7)
        return model


def examples_of(batch: MicroBatch) -> list[Example]:
    """The examples of a batch, extracted from its tensors, row after row."""
    tensors, found = batch.tensors, []
    for row in range(batch.rows):
        for number in range(1, int(tensors["example_ids"][row].max()) + 1):
            here = tensors["example_ids"][row] == number
            there = tensors["decoder_example_ids"][row] == number
            assert (tensors["target_weights"][row][there] == 1).all()
            found.append(
                Example(
                    tensors["input_ids"][row][here].tolist(),
                    tensors["decoder_input_ids"][row][there].tolist(),
                    tensors["target_ids"][row][there].tolist(),
                )
            )
    return found
