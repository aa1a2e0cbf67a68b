"""The rows of a token store: opened for a recipe, located by position, collated into tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64
from ptm.components.objectives import MicroBatch, Objective
from ptm.components.objectives.base import RandomSource
from ptm.data.examples import TokenSpans
from ptm.data.labelled import LabelledTexts
from ptm.data.order import rows_at, rows_between
from ptm.data.packing import RowSize, one_per_row
from ptm.data.placement import Placement, place
from ptm.data.tagged import TaggedWindows
from ptm.loading.index import TRAIN, EpochIndex, EpochIndexes
from ptm.loading.stores import open_store, vocabularies_of
from ptm.loading.training_rows import TrainingRows
from ptm.recipe import DataRecipe
from ptm.recipe.data_block import UNNAMED
from ptm.rng import seed_of
from ptm.store.reader import TokenStore
from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary import Vocabularies

__all__ = ["TRAIN", "PackedDataset", "open_rows"]


@dataclass(frozen=True)
class PackedDataset(TrainingRows):
    """The packed rows of one split of a store, with all that is needed to build tensors from them.

    `len`, `lengths`, `fill` and `dropped_tensors` describe variant 0 of the row index.
    """

    store: TokenStore
    objective: Objective
    vocabularies: Vocabularies
    indexes: EpochIndexes
    size: RowSize
    random_source: RandomSource
    packs_sides_apart: bool

    @property
    def _first(self) -> EpochIndex:
        return self.indexes.at(0)

    def __len__(self) -> int:
        return len(self._first.rows)

    @property
    def sources(self) -> Mapping[str, PackedDataset]:
        return {UNNAMED: self}

    @property
    def fingerprint(self) -> str:
        return self.store.info.fingerprint

    @property
    def lengths(self) -> I64:
        """Tokens of every example (E), source and target added: the most that noise can make."""
        return np.asarray(self._first.lengths.sum(axis=1))

    @property
    def label_counts(self) -> Mapping[str, int]:
        """Number of examples (or words) per label; empty unless the objective has labels."""
        labels, examples = self.objective.label_set, self._first.examples
        if labels is None:
            return {}
        if isinstance(examples, TaggedWindows):
            counts = examples.tag_counts.tolist()
        else:
            assert isinstance(examples, LabelledTexts), "an objective with labels has such texts"
            counts = labels.counts(examples.all_labels(self.store))
        return dict(zip(labels.names, counts, strict=True))

    @property
    def predictions_expected(self) -> int:
        """Number of predictions that the scores of this split are computed from."""
        return self.objective.predictions_expected(self._first.examples)

    def compute_scores(self, predictions: Mapping[str, NDArray[Any]]) -> Mapping[str, float | None]:
        """Return every score of the objective from the predictions for this split (E, …)."""
        return self.objective.compute_set_scores(predictions, self._first.examples, self.store)

    @property
    def texts_per_example(self) -> int:
        """1 for single texts and 2 for pairs, with layout `labelled`; 0 otherwise."""
        examples = self._first.examples
        return examples.part_lengths.shape[1] if isinstance(examples, LabelledTexts) else 0

    @property
    def fill(self) -> float:
        cells = self.size.source + (self.size.target if self.objective.needs_decoder else 0)
        return float(self.lengths.sum()) / max(1, len(self) * cells)

    @property
    def left_out(self) -> str:
        found = self._first.examples.left_out
        return ", ".join(f"{count:,} {what}" for what, count in found.items())

    def locate(self, positions: I64) -> tuple[I64, I64]:
        """Map ascending `positions` in the sequence of shuffled epochs to (epochs, rows)."""
        seed = self.random_source.seed
        if not self.indexes.change:
            return rows_at(positions, len(self), seed=seed)
        return rows_between(positions, self.indexes.epoch_ends(int(positions[-1])), seed=seed)

    def epoch_of(self, position: int) -> int:
        if not self.indexes.change:
            return position // len(self)
        return int(np.searchsorted(self.indexes.epoch_ends(position), position, side="right"))

    def rows_before(self, position: int) -> Mapping[str, int]:
        return {}

    def prefetch(self, position: int) -> None:
        """From the middle of an epoch on, start to build the index of the next one."""
        if not self.indexes.change:
            return
        ends, epoch = self.indexes.epoch_ends(position), self.epoch_of(position)
        begin = int(ends[epoch - 1]) if epoch else 0
        if 2 * position >= begin + int(ends[epoch]):
            self.indexes.prefetch(int(self.indexes.variant_of(np.array(epoch + 1))))

    def layout(self, rows: I64, epochs: I64) -> Placement:
        """Return the layout of a micro-batch of `rows`, with the variants of their `epochs`."""
        placements = []
        for variant, part in self._runs(epochs):
            index = self.indexes.at(variant)
            placements.append(
                place(
                    index.rows,
                    rows[part],
                    epochs[part],
                    lengths=index.lengths,
                    size=self.size,
                )
            )
        return Placement.joined(placements)

    def texts(self, placement: Placement) -> TokenSpans:
        """Return the token spans of the examples in `placement`."""
        return TokenSpans.joined(
            [
                self.indexes.at(variant).examples.texts(self.store, placement.example[part])
                for variant, part in self._runs(placement.epoch)
            ]
        )

    def _runs(self, epochs: I64) -> Iterator[tuple[int, slice]]:
        """Yield (variant, slice) of each run of consecutive `epochs` with the same variant."""
        variants = self.indexes.variant_of(epochs)
        cuts = np.flatnonzero(np.diff(variants)) + 1
        for begin, end in zip([0, *cuts], [*cuts, variants.size], strict=True):
            yield int(variants[begin]), slice(int(begin), int(end))

    def placed_alone(self, examples: I64) -> Placement:
        """Return the layout of these examples of variant 0, each in a row of its own, epoch 0."""
        lengths = self._first.lengths
        alone = one_per_row(len(lengths))
        epochs = np.zeros_like(examples)
        return place(alone, examples, epochs, lengths=lengths, size=self.size)

    def words(self, placement: Placement) -> list[str]:
        """Return the examples in `placement` as readable text, parts joined by the separator."""
        texts = self.texts(placement)
        source, target = self.vocabularies.source, self.vocabularies.target
        of_parts = [source, *[target] * (texts.part_lengths.shape[1] - 1)]
        between = f" {source.specials['sep']} " if len(of_parts) > 1 else ""
        found, end = [], 0
        for parts in texts.part_lengths:
            words = []
            for vocabulary, count in zip(of_parts, parts.tolist(), strict=True):
                tokens = texts.tokens[end : end + count].tolist()
                end += count
                if tokens:
                    words.append(" ".join(vocabulary.tokens[token] for token in tokens))
            found.append(between.join(words))
        return found

    def describe(self, positions: I64, *, text: bool) -> dict[str, Any]:
        epochs, rows = self.locate(positions)
        placement = self.layout(rows, epochs)
        examples = placement.example.tolist()
        found = {"epoch": int(epochs[0]), "rows": rows.tolist(), "examples": examples}
        return {**found, "texts": self.words(placement)} if text else found

    def micro_batches(self, positions: I64, *, size: int) -> list[MicroBatch]:
        epochs, rows = self.locate(positions)
        self.prefetch(int(positions[-1]))
        return [
            self.micro_batch(rows[at : at + size], epochs[at : at + size])
            for at in range(0, positions.size, size)
        ]

    def micro_batch(self, rows: I64, epochs: I64) -> MicroBatch:
        """Collate `rows` into tensors, with the variants and random draws of their `epochs`."""
        return self.collate(self.layout(rows, epochs))

    def collate(self, placement: Placement) -> MicroBatch:
        """Return the tensors of the examples in `placement`."""
        return self.objective.collate(
            self.texts(placement),
            placement,
            vocabularies=self.vocabularies,
            random_source=self.random_source,
        )


def open_rows(
    recipe: DataRecipe, tokenizer: Tokenizer, *, split: str, source: str = UNNAMED
) -> PackedDataset:
    """Open the rows of `split`: TRAIN, `eval`, or the name of an evaluation set (a whole store).

    `source`: the named source whose training or held-out rows are opened. Raises UserError if the
    store does not fit the recipe.
    """
    store = open_store(recipe, tokenizer, split=split, source=source)
    store.hold()
    vocabularies = vocabularies_of(recipe, tokenizer)
    if source != UNNAMED and split == TRAIN:
        # Sources have different orders and pairs even if their texts are equal. Held-out examples
        # keep their draws, so that a source's metrics compare with those of its corpus alone.
        recipe = recipe.model_copy(update={"seed": seed_of(recipe.seed, "source", source)})
    rows = PackedDataset(
        store=store,
        objective=recipe.objective.with_files(tokenizer),
        vocabularies=vocabularies,
        indexes=EpochIndexes(recipe, store, vocabularies, split=split),
        size=recipe.row_size,
        random_source=RandomSource(recipe.seed, split),
        packs_sides_apart=recipe.packs_sides_apart,
    )
    rows.indexes.at(0)
    return rows
