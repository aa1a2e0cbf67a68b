"""What a training reads: rows by position, of one store or of a mixture of stores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptm.arrays import I64
from ptm.components.objectives import MicroBatch, Objective
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    from ptm.loading.rows import PackedDataset


class TrainingRows(ABC):
    """Rows to train on: an endless sequence of epochs, of one store or of a mixture of stores.

    `len` is the number of rows of the first epoch. The row at a position of the sequence is a
    function of the recipe and the position alone.
    """

    objective: Objective
    vocabularies: Vocabularies
    packs_sides_apart: bool
    """Whether sources and targets of a micro-batch are packed into rows of their own."""

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def sources(self) -> Mapping[str, PackedDataset]:
        """The rows of each source by name; those of `UNNAMED` without named sources."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Fingerprint of the stores, for checkpoints."""

    @property
    def tokenizer_fingerprint(self) -> str:
        """Fingerprint of the tokenizer of all stores."""
        return next(iter(self.sources.values())).store.info.tokenizer

    @property
    @abstractmethod
    def fill(self) -> float:
        """Fraction of the cells of all rows that hold real tokens."""

    @property
    @abstractmethod
    def left_out(self) -> str:
        """Counts of what the objective left out of the examples, as text; "" if nothing."""

    @abstractmethod
    def epoch_of(self, position: int) -> int:
        """Return the epoch that contains `position`."""

    @abstractmethod
    def rows_before(self, position: int) -> Mapping[str, int]:
        """Return how many of the first `position` rows each named source has."""

    @abstractmethod
    def micro_batches(self, positions: I64, *, size: int) -> list[MicroBatch]:
        """Return micro-batches of `size` rows each from ascending `positions`.

        From the middle of an epoch on, the index of the next one is built in the background.
        """

    @abstractmethod
    def describe(self, positions: I64, *, text: bool) -> dict[str, Any]:
        """Describe the rows at ascending `positions`; with `text`, also their examples' texts."""
