"""How many tokens each example of a micro-batch has: what its arithmetic depends on.

Shapes: B rows, T columns, K examples of the fullest row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64
from ptm.data.placement import DECODER_EXAMPLE_IDS, EXAMPLE_IDS, example_lengths
from ptm.data.sides_apart import MEMORY_IDS
from ptm.nn.model_shape import PREFIX_SEGMENT
from ptm.nn.packed_examples import PackedShape

_TARGET_WEIGHTS = "target_weights"


@dataclass(frozen=True)
class ExampleSizes:
    """The sizes of a micro-batch, without padding.

    `lengths`: tokens of each example, by the name of its example ids. Those of encoder and decoder
    have one order. `prefixes`: tokens of the prefix of each example. `positions`: number of the
    positions that another tensor selects, by its name. `packed_shape`: bounds for all examples.
    """

    lengths: Mapping[str, I64]
    positions: Mapping[str, int]
    prefixes: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    packed_shape: PackedShape = field(default_factory=lambda: PackedShape(0, 0, fills_rows=False))


def example_sizes(
    tensors: Mapping[str, NDArray[np.int64]],
    ragged: tuple[str, ...] = (),
    *,
    adds_rows: bool = False,
) -> ExampleSizes:
    """Measure the tensors of a micro-batch; those named in `ragged` have one entry per position.

    Example ids (B, T) count from 1 in each row; 0 is padding. `adds_rows`: whether rows without
    examples will be added.
    """
    sides = [name for name in (EXAMPLE_IDS, DECODER_EXAMPLE_IDS) if name in tensors]
    most = max(int(tensors[name].max(initial=0)) for name in sides)
    lengths = {name: example_lengths(tensors[name], most) for name in sides}
    shape = _packed_shape(tensors, lengths, most)
    if MEMORY_IDS in tensors:
        shape = _apart(shape, tensors)
        # In the memory, the examples have the order of the decoder's rows.
        lengths[EXAMPLE_IDS] = example_lengths(tensors[MEMORY_IDS], most)
    elif adds_rows:
        shape = replace(shape, longest=max(tensors[name].shape[1] for name in sides))
    positions = {name: len(tensors[name]) for name in ragged}
    if _TARGET_WEIGHTS in tensors:
        positions[_TARGET_WEIGHTS] = int(np.count_nonzero(tensors[_TARGET_WEIGHTS]))
    in_prefix = tensors[EXAMPLE_IDS] * (tensors["segment_ids"] == PREFIX_SEGMENT)
    return ExampleSizes(lengths, positions, example_lengths(in_prefix, most), shape)


def _apart(shape: PackedShape, tensors: Mapping[str, NDArray[np.int64]]) -> PackedShape:
    """The shape of sides that are packed apart; rows without examples may be added to it."""
    source, target, memory = (
        tensors[name].shape for name in (EXAMPLE_IDS, DECODER_EXAMPLE_IDS, MEMORY_IDS)
    )
    return replace(
        shape,
        longest=max(source[1], target[1], memory[1]),
        source_rows=source[0],
        target_rows=target[0],
        memory_columns=memory[1],
    )


def _packed_shape(
    tensors: Mapping[str, NDArray[np.int64]], lengths: Mapping[str, I64], most: int
) -> PackedShape:
    longest, fills_rows = 0, most == 1
    for name, of_examples in lengths.items():
        columns = tensors[name].shape[1]
        of_rows = of_examples.reshape(len(tensors[name]), most)
        padding = columns - of_rows.sum(axis=1)
        longest = max(longest, int(of_rows.max(initial=0)), int(padding.max(initial=0)))
        fills_rows = fills_rows and not padding.any()
    return PackedShape(most, longest, bool(fills_rows))
