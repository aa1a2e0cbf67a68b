"""Two separate stacks of recurrent layers, shared by the encoders birnn, bilstm and bigru.

The first reads every example from left to right, the second from right to left, and no layer reads
the other direction (Peters et al. 2018, section 3.1, ELMo). Hence the forward half of the output
at a token depends only on it and the tokens before, the backward half on it and those after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from ptm.component import LayerCount, LayerSize
from ptm.components.recurrent_stack import RecurrentLayers
from ptm.nn.model_shape import ModelShape

if TYPE_CHECKING:
    from torch import nn


class TwoStreamStack(RecurrentLayers):
    """Two stacks of recurrent layers, one per direction."""

    hidden_size: LayerSize
    """Width of the output of every layer, both directions together. Each direction has half of it,
    as in UER-py: ELMo's 1,536 are two streams of 768."""
    layers: LayerCount
    """Number of layers of each direction."""
    visibility: Literal["full"] = "full"
    """Which tokens of its example a token depends on: all, through the two directions together."""

    separate_directions: ClassVar[bool] = True

    @model_validator(mode="after")
    def _check_halves(self) -> Self:
        if self.hidden_size % 2:
            raise ValueError(
                f"hidden_size = {self.hidden_size} is odd, but each direction has half of it. Set "
                "an even number."
            )
        return self

    def build_layer(self, index: int, shape: ModelShape) -> nn.Module:
        from ptm.nn.two_streams import TwoStreamLayer

        return TwoStreamLayer(
            self.cell,
            self.hidden_size if index else shape.embedding_size,
            self.hidden_size,
            split_input=index > 0,
            dropout=shape.dropout,
            bias=self.bias,
        )
