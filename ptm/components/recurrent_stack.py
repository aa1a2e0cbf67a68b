"""Stacks of recurrent layers: the base class, and the stack of the encoders rnn, lstm and gru."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import model_validator

from ptm.component import Config, LayerCount, LayerSize, PositiveFloat
from ptm.nn.model_shape import Activation, Cell, ModelShape, NormKind
from ptm.plan import Operation

if TYPE_CHECKING:
    from torch import nn


class RecurrentLayers(Config):
    """Options of all stacks of recurrent layers, with dropout after each layer."""

    hidden_size: LayerSize
    """Width of the output of every layer."""
    layers: LayerCount
    """Number of layers."""
    activation: Activation = "gelu"
    """Activation of the head; the recurrent layers have their own."""
    norm: NormKind = "layer"
    """Norm of the embedding and of the head; the recurrent layers have none."""
    norm_epsilon: PositiveFloat = 1e-12
    """Epsilon of these norms."""
    bias: bool = True
    """Whether the layers have biases (two vectors each, as in torch), and norms and linear layers
    of embedding and head."""

    supports_packing: ClassVar[bool] = True
    has_attention: ClassVar[bool] = False

    @property
    @abstractmethod
    def cell(self) -> Cell:
        """The kind of cell of all layers."""

    @abstractmethod
    def build_layer(self, index: int, shape: ModelShape) -> nn.Module:
        """Build layer `index`: hidden (B, T, W), example_ids (B, T) -> hidden (B, T, D).

        W is the width of the embedding for the first layer, D for all others.
        """

    @property
    def residual_branches(self) -> int:
        return 1

    def residual_outputs(self) -> tuple[str, ...]:
        return ()

    def embedding_shape(self, shape: ModelShape) -> ModelShape:
        return replace(shape, hidden_size=shape.embedding_size)

    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        return tuple(
            Operation(
                f"encoder_{index:02}",
                partial(self.build_layer, index, shape),
                ("hidden", "example_ids"),
                ("hidden",),
                block=True,
            )
            for index in range(self.layers)
        )


class RecurrentStack(RecurrentLayers):
    """A stack of causal layers, or of layers that read both directions of the one before."""

    bidirectional: bool = False
    """Whether every layer also reads the examples backwards. Each direction has half of
    hidden_size, and each layer reads both directions of the one before."""
    visibility: Literal["full", "causal"] = "causal"
    """Which tokens of its example a token depends on: full with bidirectional, else causal. Follows
    bidirectional if left out."""

    @model_validator(mode="before")
    @classmethod
    def _derive_visibility(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("bidirectional") is True:
            return {"visibility": "full", **data}
        return data

    @model_validator(mode="after")
    def _check_directions(self) -> Self:
        if self.bidirectional != (self.visibility == "full"):
            raise ValueError(
                f"visibility = {self.visibility} contradicts bidirectional = "
                f"{str(self.bidirectional).lower()}. Remove visibility, which follows "
                "bidirectional."
            )
        if self.bidirectional and self.hidden_size % 2:
            raise ValueError(
                f"hidden_size = {self.hidden_size} is odd, but with bidirectional each direction "
                "has half of it. Set an even number."
            )
        return self

    def build_layer(self, index: int, shape: ModelShape) -> nn.Module:
        from ptm.nn.recurrent import RecurrentLayer

        return RecurrentLayer(
            self.cell,
            self.hidden_size if index else shape.embedding_size,
            self.hidden_size,
            dropout=shape.dropout,
            bidirectional=self.bidirectional,
            bias=self.bias,
        )
