"""Tensors of texts that are embedded one by one, several of them in each row.

Shapes: E examples, K texts per example, P texts, N tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum, index_within, ragged_arange
from ptm.components.objectives.masked_tokens import add_special_tokens
from ptm.data.examples import TokenSpans
from ptm.data.placement import Placement, row_tensors
from ptm.nn.model_shape import Pooling
from ptm.rng import draws, mix64
from ptm.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class PlacedTexts:
    """The texts of a micro-batch as packed examples of their own: [CLS] text [SEP] each.

    `example` (P): the example of a text, by its place in the micro-batch. `part` (P): its place in
    the example. `numbers` (P): identifies the text in its set, from 1. `positions` (P): the cell
    of the token that `pooling` reads. `hashes` (P): equal for equal texts.
    """

    tensors: dict[str, NDArray[np.int64]]
    example: I64
    part: I64
    numbers: I64
    positions: I64
    hashes: I64


def place_texts(
    texts: TokenSpans, placement: Placement, vocabulary: Vocabulary, pooling: Pooling
) -> PlacedTexts:
    """Lay out each text of the examples in `placement` behind the one before; all in one row."""
    example, part = np.nonzero(texts.part_lengths)
    lengths = texts.part_lengths[example, part]
    row = placement.row[example]
    of_texts = replace(
        placement,
        example=placement.example[example],
        row=row,
        slot=index_within(row) + 1,
        lengths=lengths + 2,
        epoch=placement.epoch[example],
    )
    whole, _ = add_special_tokens(TokenSpans(texts.tokens, lengths[:, None], None), vocabulary)
    last = exclusive_cumsum(of_texts.lengths) + of_texts.lengths - 1
    return PlacedTexts(
        row_tensors(whole.ids, of_texts, pad=vocabulary.special_id("pad")),
        example,
        part,
        # A text has at least three tokens, so that an example has fewer texts than columns.
        of_texts.example * placement.columns + part + 1,
        of_texts.cells[last] if pooling == "last" else of_texts.first_cells,
        text_hashes(texts.tokens, lengths),
    )


def text_hashes(tokens: I64, lengths: I64) -> I64:
    """Return a hash (P) of the tokens (N) of each text; `lengths` (P) are at least 1."""
    places = ragged_arange(lengths)
    values = draws(mix64(tokens.astype(np.uint64)), places)
    sums = np.add.reduceat(values, exclusive_cumsum(lengths)) if lengths.size else values
    return mix64(sums + lengths.astype(np.uint64)).view(np.int64)
