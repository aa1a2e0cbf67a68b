"""Gated convolutional networks (Dauphin et al. 2017), with the layers of UER-py's `gatedcnn`.

The first layer reads the embedding; each block of two further layers has a residual connection.
UER-py and this project leave out the weight normalisation of the paper.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ptm.component import LayerCount, LayerSize, PositiveFloat
from ptm.components.encoders.base import Encoder
from ptm.nn.model_shape import Activation, ModelShape, NormKind
from ptm.plan import Operation

if TYPE_CHECKING:
    from torch import nn


class GatedCnn(Encoder):
    """A stack of causal convolutions with gated linear units."""

    type: Literal["gated_cnn"]
    hidden_size: LayerSize
    """Number of output channels of every layer."""
    layers: LayerCount
    """Number of layers: the first and any number of residual blocks of two, so an odd number."""
    kernel_size: Annotated[int, Field(ge=2, le=1024)] = 4
    """Number of tokens that a convolution reads: the token itself and those before it."""
    visibility: Literal["causal"] = "causal"
    """Which tokens of its example a token depends on: those before it."""
    activation: Activation = "gelu"
    """Activation of the head; the layers have gates instead."""
    norm: NormKind = "layer"
    """Norm of the embedding and of the head; the layers have none."""
    norm_epsilon: PositiveFloat = 1e-12
    """Epsilon of these norms."""
    bias: bool = True
    """Whether convolutions have biases, and norms and linear layers of embedding and head."""

    supports_packing: ClassVar[bool] = True
    has_attention: ClassVar[bool] = False

    @model_validator(mode="after")
    def _check_layers(self) -> GatedCnn:
        if self.layers % 2 == 0:
            raise ValueError(
                f"layers = {self.layers} is even, but there are one first layer and residual "
                "blocks of two. Set an odd number."
            )
        return self

    @property
    def _blocks(self) -> int:
        return self.layers // 2

    @property
    def residual_branches(self) -> int:
        return max(1, self._blocks)

    def residual_outputs(self) -> tuple[str, ...]:
        return ("second.weight",)

    def embedding_shape(self, shape: ModelShape) -> ModelShape:
        return replace(shape, hidden_size=shape.embedding_size)

    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        builds = (partial(self._first, shape), *(partial(self._block, shape),) * self._blocks)
        return tuple(
            Operation(
                f"encoder_{index:02}", build, ("hidden", "example_ids"), ("hidden",), block=True
            )
            for index, build in enumerate(builds)
        )

    def _first(self, shape: ModelShape) -> nn.Module:
        from ptm.nn.gated_convolution import GatedConvolution

        return GatedConvolution(
            shape.embedding_size, self.hidden_size, kernel_size=self.kernel_size, bias=self.bias
        )

    def _block(self, shape: ModelShape) -> nn.Module:
        from ptm.nn.gated_convolution import GatedConvolutionBlock

        return GatedConvolutionBlock(
            self.hidden_size, kernel_size=self.kernel_size, bias=self.bias, dropout=shape.dropout
        )
