"""One rank's micro-batches of a training step or an evaluation, as tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptm.components.objectives import MicroBatch, Objective
from ptm.data.sides_apart import pack_sides_apart
from ptm.errors import UserError
from ptm.loading.rows import PackedDataset
from ptm.loading.training_rows import TrainingRows
from ptm.loading.transfer import FlatTensors
from ptm.model.example_sizes import ExampleSizes, example_sizes
from ptm.nn.packed_examples import PackedShape
from ptm.recipe import BatchPlan

_CAPACITY_MULTIPLE = 64
"""The size of padded tensors is rounded up to a multiple of this, so that few shapes occur."""


@dataclass(frozen=True)
class StepBatch:
    """One rank's micro-batches of one step, with their summed counts.

    `counts`: denominators of the objective's metrics, by name. `examples`, `tokens`: real ones,
    without padding. `capacity`: common size of the objective's padded tensors. `sizes`: those of
    the examples of each micro-batch.
    """

    micro_batches: tuple[Mapping[str, Tensor], ...]
    counts: Mapping[str, float]
    examples: int
    tokens: int
    capacity: int
    sizes: tuple[ExampleSizes, ...] = ()

    @property
    def packed_shape(self) -> PackedShape:
        """Bounds for the examples of all micro-batches."""
        return PackedShape.over(sizes.packed_shape for sizes in self.sizes)


def empty_batch(objective: Objective) -> StepBatch:
    """Return the empty batch of a rank that loads no rows (a middle pipeline stage)."""
    counts = {metric.count: 0.0 for metric in objective.metrics}
    return StepBatch(micro_batches=(), counts=counts, examples=0, tokens=0, capacity=0)


class TrainStream:
    """One data rank's share of the rows of each training step, in shuffled order."""

    def __init__(self, rows: TrainingRows, batch: BatchPlan, *, data_parallel_rank: int) -> None:
        if not len(rows):
            raise UserError("data.held_out leaves no documents to train on. Set a smaller value.")
        self._rows = rows
        self._batch = batch
        self._data_rank = data_parallel_rank

    def step(self, first_row: int) -> StepBatch:
        """Return the step whose global batch starts at `first_row`.

        Rows are counted over the endless sequence of shuffled epochs.
        """
        share = self._batch.global_batch_size // self._batch.ranks
        mine = first_row + self._data_rank * share + np.arange(share, dtype=np.int64)
        parts = self._rows.micro_batches(mine, size=self._batch.micro_batch_size)
        return step_batch(parts, self._rows.objective, apart=self._rows.packs_sides_apart)

    def steps(self, first_row: int) -> Iterator[StepBatch]:
        """Yield steps from `first_row` on, without end."""
        while True:
            yield self.step(first_row)
            first_row += self._batch.global_batch_size


def describe_rows(
    rows: TrainingRows, batch: BatchPlan, first_row: int, *, text: bool
) -> dict[str, Any]:
    """Describe the global batch that starts at `first_row`: epoch, rows, examples.

    With `text`, also the examples' texts.
    """
    numbers = np.arange(first_row, first_row + batch.global_batch_size, dtype=np.int64)
    return rows.describe(numbers, text=text)


def evaluation_batches(
    rows: PackedDataset,
    micro_batch_size: int,
    *,
    data_parallel_rank: int = 0,
    data_parallel_size: int = 1,
) -> Iterator[StepBatch]:
    """Yield a data rank's share of all rows, with the same random draws in every evaluation.

    Every data rank gets the same number of batches. All have `micro_batch_size` rows, unless sides
    are packed apart: the last ones are filled with rows of zeros, which add nothing to sums and
    counts.
    """
    for first in range(0, len(rows), micro_batch_size * data_parallel_size):
        begin = first + data_parallel_rank * micro_batch_size
        chosen = np.arange(begin, min(begin + micro_batch_size, len(rows)), dtype=np.int64)
        if chosen.size:
            part = rows.micro_batch(chosen, np.zeros_like(chosen))
        else:
            part = _zeros_like(rows.micro_batch(np.zeros(1, np.int64), np.zeros(1, np.int64)))
        yield step_batch(
            [part],
            rows.objective,
            apart=rows.packs_sides_apart,
            micro_batch_size=micro_batch_size,
        )


def _zeros_like(part: MicroBatch) -> MicroBatch:
    return MicroBatch(
        tensors={name: np.zeros_like(array) for name, array in part.tensors.items()},
        counts=dict.fromkeys(part.counts, 0),
        rows=part.rows,
        examples=0,
        tokens=0,
    )


def step_batch(
    parts: list[MicroBatch],
    objective: Objective,
    *,
    apart: bool = False,
    micro_batch_size: int | None = None,
) -> StepBatch:
    """Convert micro-batches to tensors of equal shapes and add up their counts.

    `apart`: pack sources and targets into rows of their own; then each micro-batch has shapes of
    its own. `micro_batch_size`: if given, all others are filled up to this number of rows.
    """
    if apart:
        parts = [replace(part, tensors=pack_sides_apart(part.tensors)) for part in parts]
    rows = () if apart or micro_batch_size is None else (micro_batch_size,)
    sizes = tuple(
        example_sizes(
            part.tensors, objective.ragged_tensors, adds_rows=bool(rows) and rows != (part.rows,)
        )
        for part in parts
    )
    longest = max(
        (len(part.tensors[name]) for part in parts for name in objective.ragged_tensors), default=0
    )
    capacity = max(1, -(-longest // _CAPACITY_MULTIPLE)) * _CAPACITY_MULTIPLE
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(objective.ragged_tensors, (capacity,))
    names = parts[0].counts.keys()
    return StepBatch(
        micro_batches=tuple(
            _tensors(
                {
                    name: _padded(array, shapes.get(name, rows))
                    for name, array in part.tensors.items()
                }
            )
            for part in parts
        ),
        counts={name: sum(part.counts[name] for part in parts) for name in names},
        examples=sum(part.examples for part in parts),
        tokens=sum(part.tokens for part in parts),
        capacity=capacity,
        sizes=sizes,
    )


def _padded(array: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return `array` padded with zeros along its first axes up to `shape`."""
    if array.shape[: len(shape)] == shape:
        return array
    longer = np.zeros((*shape, *array.shape[len(shape) :]), dtype=array.dtype)
    longer[tuple(map(slice, array.shape))] = array
    return longer


def _tensors(arrays: Mapping[str, NDArray[np.int64]]) -> Mapping[str, Tensor]:
    if torch.cuda.is_available():
        return FlatTensors(arrays, pinned=True)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
