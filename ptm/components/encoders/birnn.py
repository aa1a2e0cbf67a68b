"""Plain recurrent networks (Elman 1990) in two separate streams, as UER-py's `birnn`."""

from __future__ import annotations

from typing import Literal

from ptm.components.encoders.base import Encoder
from ptm.components.two_stream_stack import TwoStreamStack
from ptm.nn.model_shape import Cell


class BiRnn(TwoStreamStack, Encoder):
    """Two stacks of plain recurrent layers, one per direction."""

    type: Literal["birnn"]
    nonlinearity: Literal["tanh", "relu"] = "tanh"
    """Activation of the recurrent layers."""

    @property
    def cell(self) -> Cell:
        return "rnn_tanh" if self.nonlinearity == "tanh" else "rnn_relu"
