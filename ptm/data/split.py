"""The held-out split: by document hash, so that copies of a document are never on both sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def held_out_documents(hashes: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """Which documents are held out: those with the smallest hashes.

    `share` of the distinct documents, at least one where `share` is positive; a function of the
    documents alone, so that every run over a store holds out the same.
    """
    if share <= 0 or hashes.size == 0:
        return np.zeros(hashes.shape, dtype=bool)
    distinct = np.unique(hashes)
    count = min(max(1, round(share * distinct.size)), distinct.size)
    held_out: NDArray[np.bool_] = hashes <= distinct[count - 1]
    return held_out
