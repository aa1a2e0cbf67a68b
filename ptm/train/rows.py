"""Rows of a store as micro-batches: which rows a step takes, and their tensors, loaded ahead."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptm.data.batch import place
from ptm.data.cache import Arrays, cached_arrays
from ptm.data.examples import Examples
from ptm.data.order import rows_at
from ptm.data.packing import Rows, one_a_row, pack
from ptm.data.split import held_out_documents
from ptm.data.store import I64, TokenStore
from ptm.errors import UserError
from ptm.objectives import MicroBatch, Objective
from ptm.objectives.contract import Drawing
from ptm.recipe import BatchPlan, Recipe
from ptm.recipe.blocks import EVAL
from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary import Vocabulary

TRAIN = "train"
_CAPACITY_MULTIPLE = 64
"""Padded tensors have a multiple of this many entries, so that few shapes occur."""


@dataclass(frozen=True)
class RowSet:
    """All rows of one split of a store, and how to make tensors of some of them."""

    store: TokenStore
    objective: Objective
    vocabulary: Vocabulary
    examples: Examples
    lengths: I64
    """Tokens of every example in its row."""
    rows: Rows
    sequence_length: int
    drawing: Drawing

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def fill(self) -> float:
        """Share of the cells of all rows that hold real tokens."""
        return float(self.lengths.sum()) / max(1, len(self) * self.sequence_length)

    def words_of(self, examples: I64) -> list[str]:
        """The tokens of some examples, as text for a person."""
        texts = self.examples.texts(self.store, examples)
        tokens = [self.vocabulary.tokens[int(token)] for token in texts.tokens]
        ends = np.cumsum(texts.lengths)
        return [" ".join(tokens[end - n : end]) for end, n in zip(ends, texts.lengths, strict=True)]

    def micro_batch(self, rows: I64, epochs: I64) -> MicroBatch:
        """The tensors of `rows`, each drawn as in its epoch."""
        placement = place(
            self.rows, rows, epochs, lengths=self.lengths, columns=self.sequence_length
        )
        return self.objective.collate(
            self.store,
            self.examples,
            placement,
            vocabulary=self.vocabulary,
            drawing=self.drawing,
        )


def open_rows(recipe: Recipe, tokenizer: Tokenizer, *, split: str) -> RowSet:
    """The rows of `split`: TRAIN, EVAL or the name of an evaluation set, which is its whole store.

    Raises UserError where the store does not fit.
    """
    store = open_store(recipe, tokenizer, split=split)
    arrays = _index(recipe, tokenizer, store, split)
    examples = recipe.objective.index_of(
        {name[3:]: array for name, array in arrays.items() if name.startswith("ex_")}
    )
    return RowSet(
        store=store,
        objective=recipe.objective,
        vocabulary=tokenizer.vocabulary,
        examples=examples,
        lengths=recipe.objective.row_length(examples.lengths),
        rows=Rows(arrays["row_examples"], arrays["row_ends"]),
        sequence_length=recipe.data.sequence_length,
        drawing=Drawing(recipe.seed, split),
    )


def open_store(recipe: Recipe, tokenizer: Tokenizer, *, split: str = TRAIN) -> TokenStore:
    """The store of a split. Raises UserError where it was not made for this recipe."""
    key, path = store_of(recipe, split)
    store = TokenStore.open(path, key=key)
    info = store.info
    if info.tokenizer != tokenizer.fingerprint:
        raise UserError(
            f'{key}: "{store.folder}" was made with another tokenizer or vocabulary '
            f"({info.vocabulary_size} tokens) than {recipe.tokenizer.vocab} "
            f"({tokenizer.vocabulary.size} tokens). Name the right one, or make another store with "
            "`ptm preprocess RECIPE`."
        )
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
    tokenizer.vocabulary.require(recipe.objective.special_roles)
    return store


def store_of(recipe: Recipe, split: str) -> tuple[str, str]:
    """The key of the recipe that names a split's store, and its path."""
    if split in recipe.data.evaluation:
        return f"data.evaluation.{split}.store", recipe.data.evaluation[split].store
    return "data.store", recipe.data.store


def _index(recipe: Recipe, tokenizer: Tokenizer, store: TokenStore, split: str) -> Arrays:
    data = recipe.data
    share = data.held_out if split in (TRAIN, EVAL) else 1.0

    def build() -> Arrays:
        starts, lengths = store.document_ranges
        mine = held_out_documents(store.document_hashes, share)
        if split == TRAIN:
            mine = ~mine
        examples = recipe.objective.index(
            starts[mine],
            lengths[mine],
            sequence_length=data.sequence_length,
            vocabulary=tokenizer.vocabulary,
        )
        row_lengths = recipe.objective.row_length(examples.lengths)
        rows = (
            pack(row_lengths, data.sequence_length) if data.packing else one_a_row(row_lengths.size)
        )
        kept = {f"ex_{name}": array for name, array in examples.arrays().items()}
        return {**kept, "row_examples": rows.examples, "row_ends": rows.ends}

    packing = "packed" if data.packing else "single"
    part = split if split in (TRAIN, EVAL) else "whole"
    key = f"{recipe.objective.index_key}-{data.sequence_length}-{packing}-{share!r}-{part}"
    return cached_arrays(store.folder, store.info.fingerprint, key, build)


@dataclass(frozen=True)
class StepBatch:
    """What one rank does in one step: its micro-batches as tensors, and the sums of them.

    `capacity`: entries of the padded tensors of every micro-batch.
    """

    micro_batches: tuple[Mapping[str, Tensor], ...]
    counts: Mapping[str, int]
    examples: int
    tokens: int
    capacity: int


def no_rows(objective: Objective) -> StepBatch:
    """The batch of a rank that looks at no rows."""
    counts = {metric.count: 0 for metric in objective.metrics}
    return StepBatch(micro_batches=(), counts=counts, examples=0, tokens=0, capacity=0)


class TrainStream:
    """The steps of a training: rows in keyed order, a share of each for a data rank."""

    def __init__(self, rows: RowSet, batch: BatchPlan, *, seed: int, data_rank: int) -> None:
        if not len(rows):
            raise UserError("data.held_out leaves no document to train on: make it smaller.")
        self._rows = rows
        self._batch = batch
        self._seed = seed
        self._data_rank = data_rank

    def step(self, first_row: int) -> StepBatch:
        """The step that begins at `first_row` of the endless sequence of shuffled epochs."""
        share = self._batch.global_rows // self._batch.ranks
        mine = first_row + self._data_rank * share + np.arange(share, dtype=np.int64)
        epochs, rows = rows_at(mine, len(self._rows), seed=self._seed)
        size = self._batch.micro_rows
        parts = [
            self._rows.micro_batch(rows[at : at + size], epochs[at : at + size])
            for at in range(0, share, size)
        ]
        return step_batch(parts, self._rows.objective)

    def steps(self, first_row: int) -> Iterator[StepBatch]:
        """Steps without end."""
        while True:
            yield self.step(first_row)
            first_row += self._batch.global_rows


def described_rows(
    rows: RowSet, batch: BatchPlan, first_row: int, *, seed: int, text: bool
) -> dict[str, Any]:
    """Which rows and examples the step that begins at `first_row` has, and if asked their texts."""
    numbers = np.arange(first_row, first_row + batch.global_rows, dtype=np.int64)
    epochs, chosen = rows_at(numbers, len(rows), seed=seed)
    examples, _ = rows.rows.members(chosen)
    found = {"epoch": int(epochs[0]), "rows": chosen.tolist(), "examples": examples.tolist()}
    return {**found, "texts": rows.words_of(examples)} if text else found


def evaluation_batches(
    rows: RowSet, micro_rows: int, *, data_rank: int = 0, data_ranks: int = 1
) -> Iterator[StepBatch]:
    """A data rank's share of all rows, always drawn alike; as many batches on every one.

    All have `micro_rows` rows: what is missing in the last ones are rows of zeros, which count
    nothing.
    """
    for first in range(0, len(rows), micro_rows * data_ranks):
        begin = first + data_rank * micro_rows
        chosen = np.arange(begin, min(begin + micro_rows, len(rows)), dtype=np.int64)
        if chosen.size:
            part = rows.micro_batch(chosen, np.zeros_like(chosen))
        else:
            part = _nothing_of(rows.micro_batch(np.zeros(1, np.int64), np.zeros(1, np.int64)))
        yield step_batch([part], rows.objective, micro_rows=micro_rows)


def _nothing_of(part: MicroBatch) -> MicroBatch:
    return MicroBatch(
        tensors={name: np.zeros_like(array) for name, array in part.tensors.items()},
        counts=dict.fromkeys(part.counts, 0),
        rows=part.rows,
        examples=0,
        tokens=0,
    )


def step_batch(
    parts: list[MicroBatch], objective: Objective, *, micro_rows: int | None = None
) -> StepBatch:
    """Micro-batches as tensors of one shape, with their sums.

    `micro_rows`: rows of each, where they have fewer.
    """
    longest = max(
        (part.tensors[name].size for part in parts for name in objective.padded), default=0
    )
    capacity = max(1, -(-longest // _CAPACITY_MULTIPLE)) * _CAPACITY_MULTIPLE
    names = parts[0].counts.keys()
    return StepBatch(
        micro_batches=tuple(
            _tensors(
                {
                    name: _lengthened(array, capacity if name in objective.padded else micro_rows)
                    for name, array in part.tensors.items()
                }
            )
            for part in parts
        ),
        counts={name: sum(part.counts[name] for part in parts) for name in names},
        examples=sum(part.examples for part in parts),
        tokens=sum(part.tokens for part in parts),
        capacity=capacity,
    )


def _lengthened(array: NDArray[np.int64], length: int | None) -> NDArray[np.int64]:
    """`array` with zeros appended along its first axis up to `length`."""
    if length is None or len(array) == length:
        return array
    longer = np.zeros((length, *array.shape[1:]), dtype=array.dtype)
    longer[: len(array)] = array
    return longer


def _tensors(arrays: Mapping[str, NDArray[np.int64]]) -> dict[str, Tensor]:
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if torch.cuda.is_available():
        return {name: tensor.pin_memory() for name, tensor in tensors.items()}
    return tensors


class Prefetcher:
    """Makes batches in a thread while the step before computes; knows how long was waited."""

    _DEPTH = 3

    def __init__(self, batches: Iterator[StepBatch]) -> None:
        self.waited = 0.0
        self._queue: queue.Queue[StepBatch | BaseException] = queue.Queue(self._DEPTH)
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._fill, args=(batches,), name="ptm-rows", daemon=True
        )
        self._thread.start()

    def _fill(self, batches: Iterator[StepBatch]) -> None:
        try:
            for batch in batches:
                self._put(batch)
                if self._closed.is_set():
                    return
        except BaseException as error:
            self._put(error)

    def _put(self, item: StepBatch | BaseException) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.2)
            except queue.Full:
                continue
            return

    def next(self) -> StepBatch:
        """The next batch. Raises what its making raised."""
        began = time.perf_counter()
        item = self._queue.get()
        self.waited += time.perf_counter() - began
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Stop making batches."""
        self._closed.set()
        self._thread.join(timeout=5)
