"""The interface of a saved model, whatever wrote it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptm.errors import UserError
from ptm.recipe import DataRecipe, ModelRecipe, Recipe, recipe_from_data

if TYPE_CHECKING:
    from torch import Tensor

_DEFAULT_SEQUENCE_LENGTH = 128
"""Default sequence length for evaluating a model that comes without a `data` block."""


class ModelSource(ABC):
    """A saved model with its recipe and tokenizer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def recipe_data(self) -> dict[str, Any]:
        """Return the recipe blocks that the source has, with file paths that can be opened."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return every weight by canonical name, in fp32."""

    @abstractmethod
    def description(self) -> str:
        """Return a short phrase that describes the model, such as `step 1000`."""

    def provenance(self) -> dict[str, str]:
        """Return measured values by name, formatted for the model card."""
        return {}

    def recipe(self) -> ModelRecipe:
        """Return a full `Recipe` for a run or an export of a run, else a `ModelRecipe`.

        Raises UserError if the saved recipe is not valid in this version of `ptm`.
        """
        data = self.recipe_data()
        kind = Recipe if "train" in data else ModelRecipe
        return recipe_from_data(data, kind, name=str(self.folder))

    def has_head(self, names: Collection[str]) -> bool:
        """Whether parameters of these names include the token-prediction head of the objective.

        Raises UserError if only some heads of the objective are present and no format stores them.
        """
        try:
            return self.recipe().objective.has_head(names)
        except UserError as error:
            raise UserError(f"{self.folder}: {error}") from error

    def data_recipe(self, overrides: Sequence[str] = ()) -> DataRecipe:
        """Return the recipe with the data that the model is evaluated on.

        The data come from the source's own recipe and from `overrides` (KEY=VALUE). An import has
        no `data` block; its defaults are a layout that the objective reads, rows of 128 tokens (or
        of the model's number of positions, if smaller) and no store.
        """
        data = self.recipe_data()
        recipe = self.recipe()
        longest = recipe.model.embedding.max_sequence_length or recipe.model.embedding.positions
        defaults = {
            "corpus": [],
            "store": "",
            "layout": recipe.objective.default_layout,
            "sequence_length": min(longest, _DEFAULT_SEQUENCE_LENGTH),
        }
        data["data"] = {**defaults, **data.get("data", {})}
        # They name metrics of the training's evaluation sets, which `overrides` may replace.
        for block, key in (("checkpoint", "best"), ("train", "early_stopping")):
            if data.get(block):
                data[block] = {k: value for k, value in data[block].items() if k != key}
        kind = Recipe if "train" in data else DataRecipe
        return recipe_from_data(data, kind, name=str(self.folder), overrides=overrides)
