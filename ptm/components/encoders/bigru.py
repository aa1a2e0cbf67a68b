"""GRUs (Cho et al. 2014) in two separate streams, as UER-py's `bigru`."""

from __future__ import annotations

from typing import Literal

from ptm.components.encoders.base import Encoder
from ptm.components.two_stream_stack import TwoStreamStack
from ptm.nn.model_shape import Cell


class BiGru(TwoStreamStack, Encoder):
    """Two stacks of GRU layers, one per direction."""

    type: Literal["bigru"]

    @property
    def cell(self) -> Cell:
        return "gru"
