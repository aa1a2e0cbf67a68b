"""The base class of all encoders: a frozen config that builds its operations of the plan."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ptm.component import Config, LayerCount, LayerSize, PositiveFloat
from ptm.nn.model_shape import Activation, ModelShape, NormKind, Visibility
from ptm.plan import Operation


class Encoder(Config):
    """Turns embeddings into contextual representations."""

    type: str
    hidden_size: LayerSize
    visibility: Visibility = "full"
    """Which tokens of its example a token may attend to."""

    supports_packing: ClassVar[bool]
    """Whether examples packed into one row do not influence each other."""
    has_attention: ClassVar[bool] = True
    """Whether there is attention, which engine.attention and model.attention_dropout refer to."""
    separate_directions: ClassVar[bool] = False
    """Whether the first half of `hidden` at a token depends only on it and the tokens before, and
    the second half only on it and the tokens after."""

    if TYPE_CHECKING:
        # Fields that every encoder declares with its own defaults; embedding and head follow them.
        activation: Activation
        norm: NormKind
        norm_epsilon: PositiveFloat
        bias: bool
        layers: LayerCount

    def embedding_shape(self, shape: ModelShape) -> ModelShape:
        """The shape of the embedding; its hidden_size is the width that the first layer reads."""
        return shape

    @abstractmethod
    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        """The operations hidden (B, T, W), example_ids (B, T) -> hidden (B, T, D).

        W is the hidden_size of `embedding_shape`: D, or the width of the embedding.
        """

    @abstractmethod
    def residual_outputs(self) -> tuple[str, ...]:
        """Suffixes of the names of the weights that write into the residual stream."""

    @property
    @abstractmethod
    def residual_branches(self) -> int:
        """The number of branches that add to the residual stream (2 per transformer layer),
        at least 1."""
