"""Documents as overlapping windows for prediction of neighbours, with start and end tokens.

Shapes: D documents, W windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64, ragged_arange
from ptm.data.examples import Examples, TokenSpans
from ptm.store.reader import TokenStore

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


def document_windows(
    starts: I64, lengths: I64, size: int, *, start_token: bool, overlap: int = 1
) -> Windows:
    """Split each document (D) into windows of at most `size` + `overlap` tokens.

    A window starts with the last `overlap` tokens of the previous one, so every token of a document
    except the first `overlap` is one of the `size` last tokens of exactly one window. The stream of
    a document is its text and the end token, with `start_token` after the start token.
    """
    # `first`, `last`: range of a window in the stream; `begin`: its first text token in the
    # document.
    before = int(start_token)
    stream = lengths + before + 1
    pieces = -(-(stream - overlap) // size)
    number = ragged_arange(pieces)
    stream, text = np.repeat(stream, pieces), np.repeat(lengths, pieces)
    first = number * size
    last = np.minimum(first + size + overlap, stream)
    begin = np.maximum(first - before, 0)
    begins = (number == 0) & start_token
    ends = last == stream
    return Windows(
        np.repeat(starts, pieces) + begin,
        np.minimum(last - before, text) - begin,
        BEGINS * begins.astype(np.int64) + ENDS * ends.astype(np.int64),
    )
