"""Documents as overlapping windows for next-token prediction, with start and end tokens.

Shapes: D documents, W windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64, ragged_arange
from ptm.data.examples import Examples, TokenSpans
from ptm.store.format import TokenStore

BEGINS, ENDS = 1, 2
"""Bits of a window's label: it starts with the start token; it ends with the end token."""


@dataclass(frozen=True)
class Windows(Examples):
    """Each example is one range of text tokens, with label bits BEGINS and ENDS (W each)."""

    starts: I64
    lengths: I64
    labels: I64

    @property
    def stream_lengths(self) -> I64:
        """Tokens of each window including start and end tokens (W)."""
        return np.asarray(self.lengths + ((self.labels & BEGINS) > 0) + ((self.labels & ENDS) > 0))

    def texts(self, store: TokenStore, index: I64) -> TokenSpans:
        starts, lengths = np.asarray(self.starts[index]), np.asarray(self.lengths[index])
        labels = np.asarray(self.labels[index])
        return TokenSpans(store.tokens(starts, lengths), lengths[:, None], None, labels)


def document_windows(starts: I64, lengths: I64, size: int, *, start_token: bool) -> Windows:
    """Split each document (D) into windows of `size + 1` tokens, each of which predicts `size`.

    A window starts with the last token of the previous one, so every token of a document except the
    first is predicted exactly once. With `start_token`, the first one is predicted as well.
    """
    # Stream of a document: start token if any, text, end token. `first`, `last`: range of a window
    # in the stream; `begin`: its first text token in the document.
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
