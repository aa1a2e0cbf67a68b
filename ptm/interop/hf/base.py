"""What a Hugging Face family is: which models it can hold, and how the tensors are named there."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from ptm.components.objectives import Objective
from ptm.recipe import ModelRecipe
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

Tensors = Mapping[str, Tensor]


class Family(ABC):
    """One architecture of transformers'."""

    name: str
    base: str
    """What names of the encoder begin with where there is a head, and do not in a bare encoder."""
    marks: tuple[str, ...]
    """Tensors that every checkpoint of it has and that tell it from others, by their full names."""
    causal: bool = False
    """Whether it predicts the next token, and not masked ones."""
    decodes: bool = False
    """Whether it has a decoder beside the encoder."""
    buffers: str | None = None
    """Names, as an expression, of constants that old checkpoints have beside their weights."""

    @property
    def loader(self) -> str:
        """transformers' class that loads it with its head."""
        if self.decodes:
            return "AutoModelForSeq2SeqLM"
        return "AutoModelForCausalLM" if self.causal else "AutoModelForMaskedLM"

    @abstractmethod
    def refusal(self, model: ModelBlock, objective: Objective) -> str | None:
        """Why a model cannot be written as this family; None where it can."""

    def preference(self, recipe: ModelRecipe) -> int:
        """Of several families that can hold a model, the one with the largest is its own."""
        return 0

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

    def bare(
        self, config: Mapping[str, Any], tensors: Tensors
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The same without a head: the config and the tensors of transformers' bare encoder."""
        architecture = re.sub(r"(For\w+|LMHeadModel)$", "Model", config["architectures"][0])
        kept = {n.removeprefix(self.base): t for n, t in tensors.items() if n.startswith(self.base)}
        return {**config, "architectures": [architecture]}, kept

    @abstractmethod
    def full_name(self, name: str) -> str:
        """A tensor's name in a checkpoint, as it is where there is a head; old ones made new."""

    def is_buffer(self, name: str) -> bool:
        """Whether a tensor is a constant and no weight."""
        return self.buffers is not None and re.search(self.buffers, name) is not None

    def has_marks(self, names: Collection[str]) -> bool:
        """Whether a checkpoint, bare or with a head, has the tensors that tell the family."""
        return set(self.marks) <= {self.full_name(name) for name in names}

    @abstractmethod
    def recognises(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        """Whether a checkpoint is of this family: by its tensors, not by what it calls itself."""

    def described_by(self, config: Mapping[str, Any]) -> bool:
        """Whether a config alone, without tensors beside it, is of this family."""
        return config.get("model_type") == self.name

    @abstractmethod
    def blocks(self, config: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
        """The recipe's `model` and `objective`; no `tensors` where there is a config alone.

        Raises UserError for what is not supported, KeyError for a key that is missing.
        """

    @abstractmethod
    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        """The tensors under canonical names; those this project has no place for are left out."""
