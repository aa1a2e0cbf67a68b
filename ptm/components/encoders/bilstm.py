"""LSTMs in two separate streams: ELMo's encoder (Peters et al. 2018), as UER-py's `bilstm`.

UER-py's ELMo has two layers, an embedding of 512 and hidden_size 1,536: 768 per direction.
"""

from __future__ import annotations

from typing import Literal

from ptm.components.encoders.base import Encoder
from ptm.components.two_stream_stack import TwoStreamStack
from ptm.nn.model_shape import Cell


class BiLstm(TwoStreamStack, Encoder):
    """Two stacks of LSTM layers, one per direction (ELMo)."""

    type: Literal["bilstm"]

    @property
    def cell(self) -> Cell:
        return "lstm"
