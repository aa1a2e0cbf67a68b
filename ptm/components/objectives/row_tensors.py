"""What a model reads of the tokens in its rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64
from ptm.data.placement import Placement

DECODER = "decoder_"
"""What the names of a decoder's side begin with."""


def row_tensors(
    ids: I64, placement: Placement, *, pad: int, segments: I64 | None = None, side: str = ""
) -> dict[str, NDArray[np.int64]]:
    """Token ids (N) and their segments (N; 1 if left out) as tensors (B, T) under their names.

    Padding is `pad`, at position, segment and example 0; examples count from 1.
    """
    if segments is None:
        segments = np.ones_like(ids)
    number = np.repeat(placement.number, placement.lengths)
    return {
        f"{side}input_ids": placement.grid(ids, fill=pad),
        f"{side}position_ids": placement.grid(placement.positions, fill=0),
        f"{side}segment_ids": placement.grid(segments, fill=0),
        f"{side}example_ids": placement.grid(number, fill=0),
    }
