"""The base class of all encoders: a frozen config that builds its operations of the plan."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from ptm.component import Config, PositiveInt
from ptm.nn.model_shape import ModelShape, NormKind, Visibility
from ptm.plan import Operation


class Encoder(Config):
    """Turns embeddings into contextual representations."""

    type: str
    hidden_size: PositiveInt
    visibility: Visibility = "full"
    """Which tokens of its example a token may attend to."""

    supports_packing: ClassVar[bool]
    """Whether examples packed into one row do not influence each other (possible with attention,
    not with recurrence)."""

    @property
    @abstractmethod
    def activation_name(self) -> str:
        """The activation function, of the encoder and of a head on it."""

    @property
    @abstractmethod
    def epsilon(self) -> float:
        """Epsilon of the norms, in the embedding and the head too."""

    @property
    def norm_kind(self) -> NormKind:
        """The kind of norm, in the embedding and the head too."""
        return "layer"

    @property
    def has_biases(self) -> bool:
        """Whether linear layers and norms have biases, in the embedding and the head too."""
        return True

    @abstractmethod
    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        """The operations hidden (B, T, D), example_ids (B, T) -> hidden (B, T, D)."""

    @abstractmethod
    def residual_outputs(self) -> tuple[str, ...]:
        """Suffixes of the names of the weights that write into the residual stream."""

    @property
    @abstractmethod
    def residual_branches(self) -> int:
        """The number of branches that add to the residual stream (2 per transformer layer)."""
