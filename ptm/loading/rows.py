"""The rows of a store: opened for a recipe, found by position, and made into tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64
from ptm.components.objectives import MicroBatch, Objective
from ptm.components.objectives.base import Drawing
from ptm.data.examples import Texts
from ptm.data.order import rows_at, rows_between
from ptm.data.packing import RowSize
from ptm.data.placement import Placement, place
from ptm.errors import UserError
from ptm.loading.index import TRAIN, RowIndex, RowIndexes
from ptm.recipe import DataRecipe
from ptm.store.format import TokenStore
from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary import Vocabularies

__all__ = ["TRAIN", "RowSet", "open_rows", "open_store", "store_of", "vocabularies_of"]


@dataclass(frozen=True)
class RowSet:
    """All rows of one split of a store, and how to make tensors of some of them.

    What is said of them as a whole is said of their first drawing.
    """

    store: TokenStore
    objective: Objective
    vocabularies: Vocabularies
    indexes: RowIndexes
    size: RowSize
    drawing: Drawing

    @property
    def _first(self) -> RowIndex:
        return self.indexes.at(0)

    def __len__(self) -> int:
        return len(self._first.rows)

    @property
    def lengths(self) -> I64:
        """The most tokens of every example, on both sides."""
        return np.asarray(self._first.lengths.sum(axis=1))

    @property
    def fill(self) -> float:
        """Share of the cells of all rows that hold real tokens."""
        cells = self.size.source + (self.size.target if self.objective.needs_decoder else 0)
        return float(self.lengths.sum()) / max(1, len(self) * cells)

    @property
    def left_out(self) -> str:
        """What the objective's rules kept out of the examples, for a person; empty if nothing."""
        found = self._first.examples.left_out
        return ", ".join(f"{count:,} {what}" for what, count in found.items())

    def located(self, positions: I64) -> tuple[I64, I64]:
        """(epoch, row) of `positions` (ascending) in the endless sequence of shuffled epochs."""
        seed = self.drawing.seed
        if not self.indexes.change:
            return rows_at(positions, len(self), seed=seed)
        return rows_between(positions, self.indexes.epoch_ends(int(positions[-1])), seed=seed)

    def epoch_of(self, position: int) -> int:
        """The epoch that `position` falls into."""
        if not self.indexes.change:
            return position // len(self)
        return int(np.searchsorted(self.indexes.epoch_ends(position), position, side="right"))

    def prepare(self, position: int) -> None:
        """Have the next epoch ready in time, if `position` is in the second half of its own."""
        if not self.indexes.change:
            return
        ends, epoch = self.indexes.epoch_ends(position), self.epoch_of(position)
        begin = int(ends[epoch - 1]) if epoch else 0
        if 2 * position >= begin + int(ends[epoch]):
            self.indexes.prepare(int(self.indexes.drawing_of(np.array(epoch + 1))))

    def placed(self, rows: I64, epochs: I64) -> Placement:
        """Where the examples of `rows`, each drawn as in its epoch, stand in a micro-batch."""
        parts = []
        for drawing, here in self._runs(epochs):
            index = self.indexes.at(drawing)
            parts.append(
                place(
                    index.rows,
                    rows[here],
                    epochs[here],
                    lengths=index.lengths,
                    size=self.size,
                )
            )
        return Placement.joined(parts)

    def texts(self, placement: Placement) -> Texts:
        """The texts of the examples at their places."""
        return Texts.joined(
            [
                self.indexes.at(drawing).examples.texts(self.store, placement.example[here])
                for drawing, here in self._runs(placement.epoch)
            ]
        )

    def _runs(self, epochs: I64) -> Iterator[tuple[int, slice]]:
        """Stretches of `epochs` that use one drawing."""
        drawings = self.indexes.drawing_of(epochs)
        cuts = np.flatnonzero(np.diff(drawings)) + 1
        for begin, end in zip([0, *cuts], [*cuts, drawings.size], strict=True):
            yield int(drawings[begin]), slice(int(begin), int(end))

    def words(self, placement: Placement) -> list[str]:
        """The examples at their places, as texts for a person."""
        texts = self.texts(placement)
        source, target = self.vocabularies.source, self.vocabularies.target
        of_parts = [source, *[target] * (texts.parts.shape[1] - 1)]
        between = f" {source.specials['sep']} " if len(of_parts) > 1 else ""
        found, end = [], 0
        for parts in texts.parts:
            words = []
            for vocabulary, count in zip(of_parts, parts.tolist(), strict=True):
                tokens = texts.tokens[end : end + count].tolist()
                end += count
                if tokens:
                    words.append(" ".join(vocabulary.tokens[token] for token in tokens))
            found.append(between.join(words))
        return found

    def micro_batches(self, positions: I64, *, size: int) -> list[MicroBatch]:
        """`positions` (ascending) of the endless sequence, `size` rows at a time.

        The epoch after theirs is made ready in the background when half of it has passed.
        """
        epochs, rows = self.located(positions)
        self.prepare(int(positions[-1]))
        return [
            self.micro_batch(rows[at : at + size], epochs[at : at + size])
            for at in range(0, positions.size, size)
        ]

    def micro_batch(self, rows: I64, epochs: I64) -> MicroBatch:
        """The tensors of `rows`, each drawn as in its epoch."""
        placement = self.placed(rows, epochs)
        return self.objective.collate(
            self.texts(placement), placement, vocabularies=self.vocabularies, drawing=self.drawing
        )


def open_rows(recipe: DataRecipe, tokenizer: Tokenizer, *, split: str) -> RowSet:
    """The rows of `split`: TRAIN, `eval`, or an evaluation set's name, which are its whole store.

    Raises UserError where the store does not fit.
    """
    store = open_store(recipe, tokenizer, split=split)
    vocabularies = vocabularies_of(recipe, tokenizer)
    rows = RowSet(
        store=store,
        objective=recipe.objective.prepared(tokenizer),
        vocabularies=vocabularies,
        indexes=RowIndexes(recipe, store, vocabularies, split=split),
        size=recipe.data.row_size,
        drawing=Drawing(recipe.seed, split),
    )
    rows.indexes.at(0)
    return rows


def vocabularies_of(recipe: DataRecipe, tokenizer: Tokenizer) -> Vocabularies:
    """Those of both sides of a recipe, `tokenizer` being its source's."""
    target = recipe.target_tokenizer
    if target is None:
        return Vocabularies.one(tokenizer.vocabulary)
    return Vocabularies(tokenizer.vocabulary, target.load(key="target_tokenizer").vocabulary)


def open_store(recipe: DataRecipe, tokenizer: Tokenizer, *, split: str = TRAIN) -> TokenStore:
    """The store of a split. Raises UserError where it was not made for this recipe."""
    key, path = store_of(recipe, split)
    store = TokenStore.open(path, key=key)
    info = store.info
    if info.tokenizer != tokenizer.fingerprint:
        raise UserError(
            f'{key}: "{store.folder}" was made with another tokenizer or vocabulary '
            f"({info.vocabulary_size} tokens) than {recipe.tokenizer.source} "
            f"({tokenizer.vocabulary.size} tokens). Name the right one, or make another store with "
            "`ptm preprocess RECIPE`."
        )
    _check_targets(recipe, store, key=key)
    if info.layout != recipe.data.layout:
        raise UserError(
            f'{key}: "{store.folder}" has the layout {info.layout}, the recipe says '
            f"data.layout: {recipe.data.layout}."
        )
    if recipe.objective.needs_word_starts and not info.has_word_starts:
        raise UserError(
            f'{key}: "{store.folder}" was made without word starts, which whole-word masking '
            "needs. Make one with data.segmenter set: `ptm preprocess RECIPE`, under another "
            f"{key} or with --fresh."
        )
    splits = info.layout == "documents" and recipe.objective.needs_sentences
    if splits and not info.sentence_splitting:
        raise UserError(
            f'{key}: "{store.folder}" was made without sentence splitting, which objective '
            f"{recipe.objective.type} needs. Make one with data.sentence_splitting: true: "
            f"`ptm preprocess RECIPE`, under another {key} or with --fresh."
        )
    recipe.objective.refuse_unfit(tokenizer.vocabulary, recipe.data.row_size)
    return store


def _check_targets(recipe: DataRecipe, store: TokenStore, *, key: str) -> None:
    """Raise UserError where the targets of the store were cut by another tokenizer."""
    info, config = store.info, recipe.target_tokenizer
    target = config.load(key="target_tokenizer") if config else None
    if target is not None:
        target.vocabulary.require(recipe.objective.special_roles)
    if info.target_tokenizer == (target.fingerprint if target else None):
        return
    made = (
        f"with another target tokenizer or vocabulary ({info.target_size} tokens)"
        if info.target_tokenizer
        else "without a target tokenizer"
    )
    named = (
        f"the recipe says target_tokenizer: {target.config.source} "
        f"({target.vocabulary.size} tokens)"
        if target
        else "the recipe has no target_tokenizer"
    )
    raise UserError(
        f'{key}: "{store.folder}" was made {made}, but {named}. Name the right one, or make '
        "another store with `ptm preprocess RECIPE`."
    )


def store_of(recipe: DataRecipe, split: str) -> tuple[str, str]:
    """The key of the recipe that names a split's store, and its path."""
    named = f"data.evaluation.{split}"
    key = named if named in recipe.data.corpora else "data"
    return f"{key}.store", recipe.data.corpora[key].store
