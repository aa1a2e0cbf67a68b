"""What every source of a model gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptm.errors import UserError
from ptm.recipe import DataRecipe, ModelRecipe, Recipe, recipe_from_data

if TYPE_CHECKING:
    from torch import Tensor

_ROW = 128


class Source(ABC):
    """A model with its recipe and its tokenizer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def recipe_data(self) -> dict[str, Any]:
        """The recipe's blocks as far as the source knows them, paths as they can be read now."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Every weight by canonical name, fp32."""

    @abstractmethod
    def description(self) -> str:
        """What it is, in a few words."""

    def figures(self) -> dict[str, str]:
        """What was measured, for the model card."""
        return {}

    def recipe(self) -> ModelRecipe:
        """A whole `Recipe` of a run or an export of one, else what is known of the model.

        Raises UserError where it does not fit this version.
        """
        data = self.recipe_data()
        kind = Recipe if "train" in data else ModelRecipe
        return recipe_from_data(data, kind, name=str(self.folder))

    def has_head(self, names: Collection[str]) -> bool:
        """Whether the model has the head of its objective. Raises UserError where it has a part."""
        try:
            return self.recipe().objective.has_head(names)
        except UserError as error:
            raise UserError(f"{self.folder}: {error}") from error

    def data_recipe(self, overrides: Sequence[str] = ()) -> DataRecipe:
        """The model with the data that it is evaluated on, as the source or `overrides` name it.

        An import knows nothing of data: then the layout is one that its objective reads, rows have
        128 tokens (or as many as the model has positions), and no store is named.
        """
        data = self.recipe_data()
        recipe = self.recipe()
        longest = recipe.model.embedding.longest_sequence or recipe.model.embedding.positions
        unsaid = {
            "corpus": [],
            "store": "",
            "layout": recipe.objective.usual_layout,
            "sequence_length": min(longest, _ROW),
        }
        data["data"] = {**unsaid, **data.get("data", {})}
        kind = Recipe if "train" in data else DataRecipe
        return recipe_from_data(data, kind, name=str(self.folder), overrides=overrides)
