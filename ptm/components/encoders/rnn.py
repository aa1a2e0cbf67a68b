"""Plain recurrent networks (Elman 1990), as torch.nn.RNN."""

from __future__ import annotations

from typing import Literal

from ptm.components.encoders.base import Encoder
from ptm.components.recurrent_stack import RecurrentStack
from ptm.nn.model_shape import Cell


class Rnn(RecurrentStack, Encoder):
    """A stack of plain recurrent layers."""

    type: Literal["rnn"]
    nonlinearity: Literal["tanh", "relu"] = "tanh"
    """Activation of the recurrent layers."""

    @property
    def cell(self) -> Cell:
        return "rnn_tanh" if self.nonlinearity == "tanh" else "rnn_relu"
