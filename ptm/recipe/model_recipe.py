"""Recipes of less than a training: an architecture, a model with its tokenizers, its data.

`Recipe` (in `to_recipe`) adds the blocks that only training needs. A function takes the smallest
recipe that has the blocks it reads.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from ptm.component import Config, NonNegativeInt, PositiveInt
from ptm.components.objectives import AnyObjective
from ptm.recipe.data_block import DataBlock
from ptm.recipe.model_block import ModelBlock
from ptm.text.tokenizers import AnyTokenizer


class TokenizerRecipe(Config):
    """A tokenizer alone."""

    tokenizer: AnyTokenizer


class Architecture(Config):
    """A model without its vocabulary, as described by the config file of another tool."""

    model: ModelBlock
    objective: AnyObjective


class ModelRecipe(Architecture):
    """A model with its tokenizers: the recipe of imports, exports and inference."""

    tokenizer: AnyTokenizer
    target_tokenizer: AnyTokenizer | None = None
    """The tokenizer of the target, if it differs from that of the source (translation)."""


def _rows_or_auto(value: Any) -> Any:
    # As one validator, since each member of a union would report an error of its own.
    if value == "auto" or (type(value) is int and value > 0):
        return value
    raise ValueError(f"{value}: must be a whole number greater than 0, or auto")


MicroBatchSize = Annotated[int | Literal["auto"], BeforeValidator(_rows_or_auto)]


class BatchBlock(Config):
    """Batch sizes."""

    global_batch_size: PositiveInt = 32
    """Rows per step over all ranks."""
    micro_batch_size: MicroBatchSize = "auto"
    """The most rows that a rank computes at once. Gradient accumulation follows from it. auto: as
    many as the memory of the device allows ([engines.md](engines.md))."""


class DataRecipe(ModelRecipe):
    """A model and its data: the recipe of an evaluation."""

    seed: NonNegativeInt = 7
    """Seed of initial weights, order of rows, masks and dropout."""
    data: DataBlock
    train: BatchBlock = BatchBlock()

    @property
    def packs_sides_apart(self) -> bool:
        """Whether sources and targets of a micro-batch are packed into rows of their own."""
        decoder = self.model.decoder is not None
        return self.data.packing and decoder and self.objective.packs_sides_apart
