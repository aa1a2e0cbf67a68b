"""Row indexes of a split: its examples and how they are packed into rows, one index per variant.

Most objectives have one index (variant 0) for all epochs. If examples are drawn at random (pairs
of sentences), each epoch has its own variant, or epochs cycle through a fixed number of variants.
An index is built when its epoch starts, or in the background a little before.
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
    build_lock,
    cached_arrays,
    remove_arrays,
    store_number,
    stored_number,
)
from ptm.data.packing import PackedRows, one_per_row, pack_sides
from ptm.recipe import DataRecipe
from ptm.recipe.data_block import EVAL
from ptm.rng import seed_of
from ptm.store.reader import TokenStore
from ptm.text.vocabulary import Vocabularies

TRAIN = "train"


@dataclass(frozen=True)
class EpochIndex:
    """One variant: its E examples, their tokens in a row (E, sides), and the packed rows.

    Sides: source, and target if the objective needs a decoder.
    """

    examples: Examples
    lengths: I64
    rows: PackedRows


class EpochIndexes:
    """The row indexes of one split, by variant. Thread-safe.

    Old variants are dropped from memory and disk, but their numbers of rows stay on disk, so that
    a resumed run finds its epoch without building them again.
    """

    def __init__(
        self, recipe: DataRecipe, store: TokenStore, vocabularies: Vocabularies, *, split: str
    ) -> None:
        self._objective = recipe.objective
        self._data = recipe.data
        self._size = recipe.row_size
        self._seed = recipe.seed
        self._store = store
        self._vocabularies = vocabularies
        self._split = split
        # A named evaluation set uses its whole store.
        self._share = recipe.data.held_out if split in (TRAIN, EVAL) else 1.0
        self._variants = recipe.objective.index_variants
        self._futures: dict[int, Future[EpochIndex]] = {}
        self._claim_lock, self._count_lock = threading.Lock(), threading.Lock()
        self._ends: I64 = np.empty(0, dtype=np.int64)

    @property
    def change(self) -> bool:
        """Whether epochs have different indexes."""
        return self._variants != 1

    def variant_of(self, epochs: I64) -> I64:
        """Return the variant that each epoch uses."""
        return epochs if self._variants is None else epochs % self._variants

    def at(self, variant: int) -> EpochIndex:
        """Return the index of a variant; build it, or wait for the thread that is building it."""
        future, mine = self._claim(variant)
        if mine:
            self._open_into(future, variant)
        return future.result()

    def prefetch(self, variant: int) -> None:
        """Start to build the index of a variant in a thread, unless it is built or in progress."""
        future, mine = self._claim(variant)
        if mine:
            threading.Thread(
                target=self._open_into, args=(future, variant), name="ptm-index", daemon=True
            ).start()

    def epoch_ends(self, position: int) -> I64:
        """Return the cumulative rows at the end of each epoch, up to the epoch of `position`."""
        if not self._ends.size or self._ends[-1] <= position:
            with self._count_lock:
                while not self._ends.size or self._ends[-1] <= position:
                    before = int(self._ends[-1]) if self._ends.size else 0
                    variant = int(self.variant_of(np.array(self._ends.size)))
                    self._ends = np.append(self._ends, before + self._row_count(variant))
        return self._ends

    def _claim(self, variant: int) -> tuple[Future[EpochIndex], bool]:
        """Return the future of an index and whether the caller must fulfil it."""
        with self._claim_lock:
            if variant in self._futures:
                return self._futures[variant], False
            if self._variants is None:
                past = [one for one in self._futures if 0 < one < variant - 1]
                for one in past:
                    del self._futures[one]
            future = self._futures[variant] = Future[EpochIndex]()
            return future, True

    def _open_into(self, future: Future[EpochIndex], variant: int) -> None:
        try:
            future.set_result(self._opened(variant))
        except BaseException as error:
            future.set_exception(error)

    def _opened(self, variant: int) -> EpochIndex:
        objective, key = self._objective, self._key(variant)
        if self.change:
            with build_lock(self._store.folder, self._fingerprint, self._key(None)):
                arrays = self._cached(variant)
                rows = len(arrays["row_ends"])
                store_number(self._store.folder, self._fingerprint, f"{key}-rows", rows)
            if self._variants is None and variant > 2:
                remove_arrays(self._store.folder, self._fingerprint, self._key(variant - 2))
        else:
            arrays = self._cached(variant)
        examples = objective.index_type.from_arrays(
            {name[3:]: array for name, array in arrays.items() if name.startswith("ex_")}
        )
        return EpochIndex(
            examples=examples,
            lengths=objective.row_lengths(examples),
            rows=PackedRows(arrays["row_examples"], arrays["row_ends"]),
        )

    def _row_count(self, variant: int) -> int:
        key = f"{self._key(variant)}-rows"
        kept = stored_number(self._store.folder, self._fingerprint, key)
        return len(self.at(variant).rows) if kept is None else kept

    @property
    def _fingerprint(self) -> str:
        return self._store.info.fingerprint

    def _key(self, variant: int | None) -> str:
        """The cache key of an index: all that it depends on; with None, without the variant."""
        data = self._data
        packing = "packed" if data.packing else "single"
        length = str(data.sequence_length)
        if self._objective.needs_decoder:
            length += f"-{data.row_size.target}"
        key = f"{self._objective.index_key}-{length}-{packing}-{self._share!r}-{self._split}"
        if not self.change:
            return key
        return f"{key}-{self._seed}" if variant is None else f"{key}-{self._seed}-{variant}"

    def _cached(self, variant: int) -> Arrays:
        return cached_arrays(
            self._store.folder,
            self._fingerprint,
            self._key(variant),
            lambda: self._built(variant),
        )

    def _built(self, variant: int) -> Arrays:
        data, store, objective = self._data, self._store, self._objective
        held_out = held_out_documents(store.document_hashes, self._share)
        evaluates = self._split != TRAIN
        examples = objective.index(
            Documents(store, held_out if evaluates else ~held_out, held_out=evaluates),
            size=self._size,
            vocabularies=self._vocabularies,
            seed=seed_of(self._seed, "index", self._split, variant),
        )
        lengths = objective.row_lengths(examples)
        rows = pack_sides(lengths, self._size) if data.packing else one_per_row(len(lengths))
        kept = {f"ex_{name}": array for name, array in examples.to_arrays().items()}
        return {**kept, "row_examples": rows.examples, "row_ends": rows.ends}
