"""Which examples a split of a store has and which rows they share: an index a drawing.

Most objectives have one index for all epochs. Where examples change (pairs of sentences), epochs
have one each, or cycle through some; each is opened when it is reached, or a little before.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64
from ptm.data.documents import Documents, held_out_documents
from ptm.data.examples import Examples
from ptm.data.index_cache import (
    Arrays,
    cached_arrays,
    forget_arrays,
    keep_number,
    kept_number,
    only_one,
)
from ptm.data.packing import Rows, one_a_row, pack_sides
from ptm.recipe import DataRecipe
from ptm.recipe.data_block import EVAL
from ptm.rng import seed_of
from ptm.store.format import TokenStore
from ptm.text.vocabulary import Vocabularies

TRAIN = "train"


@dataclass(frozen=True)
class RowIndex:
    """The examples of one drawing, their tokens in a row (E, sides), and the rows with them."""

    examples: Examples
    lengths: I64
    rows: Rows


class RowIndexes:
    """The indexes of one split, by the number of their drawing.

    They may be asked for from several threads. What an epoch needs is found again by whoever goes
    on from it: of drawings that are past, the number of rows is kept.
    """

    def __init__(
        self, recipe: DataRecipe, store: TokenStore, vocabularies: Vocabularies, *, split: str
    ) -> None:
        self._objective = recipe.objective
        self._data = recipe.data
        self._seed = recipe.seed
        self._store = store
        self._vocabularies = vocabularies
        self._split = split
        # A named evaluation set is a whole store.
        self._share = recipe.data.held_out if split in (TRAIN, EVAL) else 1.0
        self._drawings = recipe.objective.index_drawings
        self._opening: dict[int, Future[RowIndex]] = {}
        self._claiming, self._counting = threading.Lock(), threading.Lock()
        self._ends: I64 = np.empty(0, dtype=np.int64)

    @property
    def change(self) -> bool:
        """Whether epochs have different ones."""
        return self._drawings != 1

    def drawing_of(self, epochs: I64) -> I64:
        """The drawing that each epoch uses."""
        return epochs if self._drawings is None else epochs % self._drawings

    def at(self, drawing: int) -> RowIndex:
        """The index of `drawing`; waits where another thread is making it."""
        future, mine = self._claimed(drawing)
        if mine:
            self._open_into(future, drawing)
        return future.result()

    def prepare(self, drawing: int) -> None:
        """Open the index of `drawing` in the background, if nobody has."""
        future, mine = self._claimed(drawing)
        if mine:
            threading.Thread(
                target=self._open_into, args=(future, drawing), name="ptm-index", daemon=True
            ).start()

    def epoch_ends(self, position: int) -> I64:
        """The rows of all epochs up to the end of each, as far as that in which `position` lies."""
        if not self._ends.size or self._ends[-1] <= position:
            with self._counting:
                while not self._ends.size or self._ends[-1] <= position:
                    before = int(self._ends[-1]) if self._ends.size else 0
                    drawing = int(self.drawing_of(np.array(self._ends.size)))
                    self._ends = np.append(self._ends, before + self._row_count(drawing))
        return self._ends

    def _claimed(self, drawing: int) -> tuple[Future[RowIndex], bool]:
        """The future of an index, and whether the caller is the one to fulfil it."""
        with self._claiming:
            if drawing in self._opening:
                return self._opening[drawing], False
            if self._drawings is None:
                past = [one for one in self._opening if 0 < one < drawing - 1]
                for one in past:
                    del self._opening[one]
            future = self._opening[drawing] = Future[RowIndex]()
            return future, True

    def _open_into(self, future: Future[RowIndex], drawing: int) -> None:
        try:
            future.set_result(self._opened(drawing))
        except BaseException as error:
            future.set_exception(error)

    def _opened(self, drawing: int) -> RowIndex:
        objective, key = self._objective, self._key(drawing)
        if self.change:
            with only_one(self._store.folder, self._fingerprint, self._key(None)):
                arrays = self._cached(drawing)
                rows = len(arrays["row_ends"])
                keep_number(self._store.folder, self._fingerprint, f"{key}-rows", rows)
            if self._drawings is None and drawing > 2:
                forget_arrays(self._store.folder, self._fingerprint, self._key(drawing - 2))
        else:
            arrays = self._cached(drawing)
        examples = objective.index_type.from_arrays(
            {name[3:]: array for name, array in arrays.items() if name.startswith("ex_")}
        )
        return RowIndex(
            examples=examples,
            lengths=objective.row_lengths(examples),
            rows=Rows(arrays["row_examples"], arrays["row_ends"]),
        )

    def _row_count(self, drawing: int) -> int:
        key = f"{self._key(drawing)}-rows"
        kept = kept_number(self._store.folder, self._fingerprint, key)
        return len(self.at(drawing).rows) if kept is None else kept

    @property
    def _fingerprint(self) -> str:
        return self._store.info.fingerprint

    def _key(self, drawing: int | None) -> str:
        """What an index is kept under: everything it depends on; None: any drawing of it."""
        data = self._data
        packing = "packed" if data.packing else "single"
        length = str(data.sequence_length)
        if self._objective.needs_decoder:
            length += f"-{data.row_size.target}"
        key = f"{self._objective.index_key}-{length}-{packing}-{self._share!r}-{self._split}"
        if not self.change:
            return key
        return f"{key}-{self._seed}" if drawing is None else f"{key}-{self._seed}-{drawing}"

    def _cached(self, drawing: int) -> Arrays:
        return cached_arrays(
            self._store.folder,
            self._fingerprint,
            self._key(drawing),
            lambda: self._built(drawing),
        )

    def _built(self, drawing: int) -> Arrays:
        data, store, objective = self._data, self._store, self._objective
        held_out = held_out_documents(store.document_hashes, self._share)
        evaluates = self._split != TRAIN
        examples = objective.index(
            Documents(store, held_out if evaluates else ~held_out, held_out=evaluates),
            size=data.row_size,
            vocabularies=self._vocabularies,
            seed=seed_of(self._seed, "index", self._split, drawing),
        )
        lengths = objective.row_lengths(examples)
        rows = pack_sides(lengths, data.row_size) if data.packing else one_a_row(len(lengths))
        kept = {f"ex_{name}": array for name, array in examples.to_arrays().items()}
        return {**kept, "row_examples": rows.examples, "row_ends": rows.ends}
