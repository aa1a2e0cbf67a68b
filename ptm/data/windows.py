"""Documents as streams from a start token to an end token, in windows that overlap by one token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64, ragged_arange
from ptm.data.examples import Examples, Texts
from ptm.store.format import TokenStore

BEGINS, ENDS = 1, 2
"""Bits of a window's label: it begins with the start token, it ends with the end token."""


@dataclass(frozen=True)
class Windows(Examples):
    """Each example is one range of text tokens (W) and a label that says what stands around it."""

    starts: I64
    lengths: I64
    labels: I64

    @property
    def stream_lengths(self) -> I64:
        """Tokens of every window, the start and end tokens included."""
        return np.asarray(self.lengths + ((self.labels & BEGINS) > 0) + ((self.labels & ENDS) > 0))

    def texts(self, store: TokenStore, index: I64) -> Texts:
        """The tokens of the windows `index`."""
        starts, lengths = np.asarray(self.starts[index]), np.asarray(self.lengths[index])
        labels = np.asarray(self.labels[index])
        return Texts(store.tokens(starts, lengths), lengths[:, None], None, labels)


def document_windows(starts: I64, lengths: I64, size: int, *, start_token: bool) -> Windows:
    """The windows of `size + 1` tokens of every document (D), each of which predicts `size`.

    Each begins with the last token of the one before, so that every token but a document's first is
    predicted once. The first is too where a `start_token` stands before it.
    """
    before = int(start_token)
    stream = lengths + before + 1
    pieces = -(-(stream - 1) // size)
    number = ragged_arange(pieces)
    stream, text = np.repeat(stream, pieces), np.repeat(lengths, pieces)
    first = number * size
    last = np.minimum(first + size + 1, stream)
    begin = np.maximum(first - before, 0)
    begins = (number == 0) & start_token
    ends = last == stream
    return Windows(
        np.repeat(starts, pieces) + begin,
        np.minimum(last - before, text) - begin,
        BEGINS * begins.astype(np.int64) + ENDS * ends.astype(np.int64),
    )
