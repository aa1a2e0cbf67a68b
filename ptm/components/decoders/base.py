"""What every decoder is: a frozen config that gives the steps from hidden to hidden."""

from __future__ import annotations

from abc import abstractmethod

from ptm.component import Config, PositiveInt
from ptm.nn.model_shape import ModelShape, NormKind
from ptm.plan import Step


class Decoder(Config):
    """Turns embedded tokens of the target into contextual ones that have seen the source."""

    type: str
    hidden_size: PositiveInt

    @property
    @abstractmethod
    def activation_name(self) -> str:
        """The activation of its layers."""

    @property
    @abstractmethod
    def epsilon(self) -> float:
        """The norms' epsilon, for the embedding's norm too."""

    @property
    @abstractmethod
    def norm_kind(self) -> NormKind:
        """The kind of the norms, of the embedding's too."""

    @property
    @abstractmethod
    def has_biases(self) -> bool:
        """Whether linear layers and norms have biases, in the embedding and the head too."""

    @abstractmethod
    def steps(self, shape: ModelShape) -> tuple[Step, ...]:
        """hidden (B, T, D), decoder_example_ids (B, T), memory (B, K, D), example_ids (B, K) ->
        hidden (B, T, D)."""

    @abstractmethod
    def residual_outputs(self) -> tuple[str, ...]:
        """Endings of the names of weights that write into the residual stream."""

    @property
    @abstractmethod
    def residual_branches(self) -> int:
        """How many branches add to the residual stream (3 a transformer layer)."""
