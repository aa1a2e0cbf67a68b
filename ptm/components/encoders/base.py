"""What every encoder is: a frozen config that gives the steps from hidden to hidden."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from ptm.component import Config, PositiveInt
from ptm.nn.model_shape import ModelShape, NormKind, Visibility
from ptm.plan import Step


class Encoder(Config):
    """Turns embedded tokens into contextual ones."""

    type: str
    hidden_size: PositiveInt
    visibility: Visibility = "full"
    """What a token may look at."""

    separates_examples: ClassVar[bool]
    """Whether examples packed into one row stay apart (attention can, recurrence cannot)."""

    @property
    @abstractmethod
    def activation_name(self) -> str:
        """The activation that a head built on this encoder uses too."""

    @property
    @abstractmethod
    def epsilon(self) -> float:
        """The norms' epsilon, for the embedding's and the head's norms too."""

    @property
    def norm_kind(self) -> NormKind:
        """The kind of the norms, of the embedding's and the head's too."""
        return "layer"

    @property
    def has_biases(self) -> bool:
        """Whether linear layers and norms have biases, in the embedding and the head too."""
        return True

    @abstractmethod
    def steps(self, shape: ModelShape) -> tuple[Step, ...]:
        """hidden (B, T, D), example_ids (B, T) -> hidden (B, T, D)."""

    @abstractmethod
    def residual_outputs(self) -> tuple[str, ...]:
        """Endings of the names of weights that write into the residual stream."""

    @property
    @abstractmethod
    def residual_branches(self) -> int:
        """How many branches add to the residual stream (2 a transformer layer)."""
