"""Gated recurrent units (Cho et al. 2014), as torch.nn.GRU."""

from __future__ import annotations

from typing import Literal

from ptm.components.encoders.base import Encoder
from ptm.components.recurrent_stack import RecurrentStack
from ptm.nn.model_shape import Cell


class Gru(RecurrentStack, Encoder):
    """A stack of GRU layers."""

    type: Literal["gru"]

    @property
    def cell(self) -> Cell:
        return "gru"
