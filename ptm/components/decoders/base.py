"""The base class of all decoders: a frozen config that builds its operations of the plan."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from ptm.component import Config, LayerCount, LayerSize, PositiveFloat
from ptm.nn.model_shape import Activation, ModelShape, NormKind
from ptm.plan import Operation


class Decoder(Config):
    """Turns target embeddings into contextual representations that attend to the source."""

    type: str
    hidden_size: LayerSize

    if TYPE_CHECKING:
        # Fields that every decoder declares with its own defaults; embedding and head follow them.
        activation: Activation
        norm: NormKind
        norm_epsilon: PositiveFloat
        bias: bool
        layers: LayerCount

    @abstractmethod
    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        """The operations hidden, decoder_example_ids, memory, example_ids -> hidden.

        Shapes: hidden (B, T, D), decoder_example_ids (B, T), memory (the encoder's output)
        (B, K, D), example_ids (B, K).
        """

    @abstractmethod
    def residual_outputs(self) -> tuple[str, ...]:
        """Suffixes of the names of the weights that write into the residual stream."""

    @property
    @abstractmethod
    def residual_branches(self) -> int:
        """The number of branches that add to the residual stream (3 per transformer layer)."""
