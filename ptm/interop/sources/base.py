"""What every source of a model gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptm.interop.completed_recipe import completed_recipe
from ptm.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor


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

    def recipe(self, overrides: Sequence[str] = ()) -> Recipe:
        """The whole recipe. Raises UserError where it does not fit this version."""
        return completed_recipe(self.recipe_data(), name=str(self.folder), overrides=overrides)
