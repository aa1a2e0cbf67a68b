"""Long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000), as torch.nn.LSTM."""

from __future__ import annotations

from typing import Literal

from ptm.components.encoders.base import Encoder
from ptm.components.recurrent_stack import RecurrentStack
from ptm.nn.model_shape import Cell


class Lstm(RecurrentStack, Encoder):
    """A stack of LSTM layers."""

    type: Literal["lstm"]

    @property
    def cell(self) -> Cell:
        return "lstm"
