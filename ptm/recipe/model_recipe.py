"""Recipes of less than a training: an architecture, a model with its vocabulary, and its data.

`Recipe` (in `blocks`) adds what only training needs. Whatever reads a model takes the smallest of
these that has the blocks it reads.
"""

from __future__ import annotations

from ptm.component import Config, NonNegativeInt, PositiveInt
from ptm.components.objectives import AnyObjective
from ptm.recipe.data_block import DataBlock
from ptm.recipe.model_block import ModelBlock
from ptm.text.tokenizers import AnyTokenizer


class TokenizerRecipe(Config):
    """A tokenizer alone."""

    tokenizer: AnyTokenizer


class Architecture(Config):
    """A model without its vocabulary: all that another tool's configuration tells of one."""

    model: ModelBlock
    objective: AnyObjective


class ModelRecipe(Architecture):
    """A model without its training: what imports, exports and inference know."""

    tokenizer: AnyTokenizer
    target_tokenizer: AnyTokenizer | None = None
    """Of the target, where it is not the source's (translation)."""


class BatchBlock(Config):
    """How many rows are computed at once."""

    global_batch_size: PositiveInt = 32
    """Rows a step, over all ranks."""
    micro_batch_size: PositiveInt = 32
    """The most rows a rank holds at once; accumulation follows from it."""


class DataRecipe(ModelRecipe):
    """A model and the data that it reads: what an evaluation needs."""

    seed: NonNegativeInt = 7
    data: DataBlock
    train: BatchBlock = BatchBlock()
