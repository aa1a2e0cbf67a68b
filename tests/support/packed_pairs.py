"""Micro-batches of packed source-target pairs with made-up tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ptm.data.packing import RowSize, pack_sides
from ptm.data.placement import DECODER, place, row_tensors

SOURCE, TARGET = 64, 32
"""Tokens per row of either side."""


def packed_pairs(
    pairs: Sequence[tuple[int, int]], *, vocabulary: int | None = None
) -> dict[str, NDArray[np.int64]]:
    """The rows of pairs of these lengths, in one row per example that cannot share its row.

    The tokens of an example are 1 + its number; with `vocabulary`, random ones.
    """
    lengths, size = np.array(pairs, dtype=np.int64).reshape(-1, 2), RowSize(SOURCE, TARGET)
    rows = pack_sides(lengths, size)
    chosen = np.arange(max(1, len(rows)), dtype=np.int64)[: len(rows)]
    placement = place(rows, chosen, np.zeros_like(chosen), lengths=lengths, size=size)
    decoder = placement.side(lengths[placement.example, 1], size.target)
    draws = np.random.default_rng(3)

    def tokens(of_examples: NDArray[np.int64]) -> NDArray[np.int64]:
        if vocabulary is not None:
            return draws.integers(1, vocabulary, int(of_examples.sum()))
        return np.repeat(placement.example + 1, of_examples)

    if not len(rows):
        shapes = {"": (1, SOURCE), DECODER: (1, TARGET)}
        names = ("input_ids", "position_ids", "segment_ids", "example_ids")
        empty = {
            f"{side}{name}": np.zeros(shape, dtype=np.int64)
            for side, shape in shapes.items()
            for name in names
        }
        targets = ("target_ids", "target_weights")
        return empty | {name: np.zeros(shapes[DECODER], dtype=np.int64) for name in targets}
    target = tokens(decoder.lengths)
    return {
        **row_tensors(tokens(placement.lengths), placement, pad=0),
        **row_tensors(target, decoder, pad=0, side=DECODER),
        "target_ids": decoder.to_grid(target, fill=0),
        "target_weights": decoder.to_grid(np.ones_like(target), fill=0),
    }
