"""The interface of a Hugging Face model family: which models it can hold, its config and names."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from ptm.components.objectives import Objective
from ptm.recipe import ModelRecipe
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

Tensors: TypeAlias = "Mapping[str, Tensor]"


class Family(ABC):
    """One architecture of transformers, converted in both directions."""

    name: str
    base_prefix: str
    """Prefix of the encoder's tensor names in a model with a head; a bare encoder lacks it."""
    signature_tensors: tuple[str, ...]
    """Full names of tensors that together identify a checkpoint of this family."""
    causal: bool = False
    """Whether the model predicts the next token (otherwise masked tokens)."""
    is_encoder_decoder: bool = False
    """Whether the model is an encoder-decoder."""
    buffer_pattern: str | None = None
    """Regular expression for the names of constants that old checkpoints store with the weights."""

    @property
    def auto_class(self) -> str:
        """The auto class of transformers that loads the model with its head."""
        if self.is_encoder_decoder:
            return "AutoModelForSeq2SeqLM"
        return "AutoModelForCausalLM" if self.causal else "AutoModelForMaskedLM"

    @abstractmethod
    def unsupported_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        """Why a model cannot be exported as this family; None if it can.

        The reason completes "NAME: ..." in an error message, without a full stop.
        """

    def priority(self, recipe: ModelRecipe) -> int:
        """Rank among the families that can hold a model; the export uses the highest."""
        return 0

    @abstractmethod
    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        """The content of `config.json`, for a model that `unsupported_reason` accepts."""

    @abstractmethod
    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        """Canonical tensors, renamed and reshaped as transformers expects them."""

    def without_head(
        self, config: Mapping[str, Any], tensors: Tensors
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Config and tensors of the bare encoder: an export with its head removed."""
        architecture = re.sub(r"(For\w+|LMHeadModel)$", "Model", config["architectures"][0])
        kept = {
            n.removeprefix(self.base_prefix): t
            for n, t in tensors.items()
            if n.startswith(self.base_prefix)
        }
        return {**config, "architectures": [architecture]}, kept

    @abstractmethod
    def qualified_name(self, name: str) -> str:
        """The name that a checkpoint's tensor has in a current model with a head.

        Adds the prefix that bare encoders lack and replaces names of old versions.
        """

    def is_buffer(self, name: str) -> bool:
        """Whether a tensor is a constant rather than a weight."""
        return self.buffer_pattern is not None and re.search(self.buffer_pattern, name) is not None

    def has_signature_tensors(self, names: Collection[str]) -> bool:
        """Whether a checkpoint, bare or with a head, has all tensors of `signature_tensors`."""
        return set(self.signature_tensors) <= {self.qualified_name(name) for name in names}

    @abstractmethod
    def matches_checkpoint(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        """Whether a checkpoint with tensors `names` is of this family.

        Tensor names decide; the config's model_type is used only between families that share them.
        """

    def matches_config(self, config: Mapping[str, Any]) -> bool:
        """Whether a config without weights is of this family."""
        return config.get("model_type") == self.name

    @abstractmethod
    def to_recipe(self, config: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
        """The `model` and `objective` blocks of a recipe.

        `tensors` is empty for a config without weights. Raises UserError for an unsupported value,
        KeyError for a missing key.
        """

    @abstractmethod
    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        """The tensors under canonical names; tensors without a counterpart in ptm are left out.

        A missing head stays missing. Raises KeyError for another missing tensor, UserError for
        tensors that contradict the config.
        """
