"""What a Hugging Face family is: which models it can hold, and how the tensors are named there."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from ptm.objectives import Objective
from ptm.recipe.blocks import ModelBlock
from ptm.text.vocabulary import Vocabulary

Tensors = Mapping[str, Tensor]


class Family(ABC):
    """One architecture of transformers'."""

    name: str

    @abstractmethod
    def refusal(self, model: ModelBlock, objective: Objective) -> str | None:
        """Why a model cannot be written as this family; None where it can."""

    @abstractmethod
    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        """The `config.json`."""

    @abstractmethod
    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        """Canonical tensors as transformers names and shapes them."""

    @abstractmethod
    def recognises(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        """Whether a checkpoint is of this family: by its tensors, not by what it calls itself."""

    @abstractmethod
    def blocks(self, config: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        """The recipe's `model` and `objective`. Raises UserError for what is not supported."""

    @abstractmethod
    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        """The tensors under canonical names; those this project has no place for are left out."""


def families() -> list[Family]:
    """Every family that is a file of this package."""
    package = importlib.import_module(__package__)
    found: list[Family] = []
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{__package__}.{info.name}")
        for _, member in inspect.getmembers(module, inspect.isclass):
            own = member.__module__ == module.__name__ and not inspect.isabstract(member)
            if own and issubclass(member, Family):
                found.append(member())
    return found
