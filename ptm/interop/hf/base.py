"""The interface of a Hugging Face model family: which models it can hold, its config and names."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from ptm.component import Config
from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives import Objective
from ptm.components.objectives.lm import Lm
from ptm.components.objectives.masking.token import TokenMasking
from ptm.components.objectives.mlm import Mlm
from ptm.errors import UserError
from ptm.interop.effective_options import (
    HEAD,
    Options,
    effective_options,
    first_difference,
    head_modules,
)
from ptm.interop.hf.model_config import ModelConfig
from ptm.recipe import ModelRecipe, recipe_from_data
from ptm.recipe.model_block import ModelBlock
from ptm.recipe.model_recipe import Architecture
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

Tensors: TypeAlias = "Mapping[str, Tensor]"

_BUFFERS = r"(^|\.)embeddings\.(position_ids|token_type_ids)$"
"""Ids that old checkpoints of BERT and its kin store with the weights."""


def plain_encoder(model: ModelBlock) -> Transformer:
    """The encoder of a model that `Family.structure_reason` accepted."""
    assert isinstance(model.encoder, Transformer), "the encoder was checked before"
    return model.encoder


class Family(ABC):
    """One architecture of transformers, converted in both directions."""

    name: str
    base_prefix: str
    """Prefix of the encoder's tensor names in a model with a head; a bare encoder lacks it."""
    signature_tensors: tuple[str, ...]
    """Full names of tensors that together identify a checkpoint of this family."""
    import_only: bool = False
    """Whether models are not exported as this family, because another one computes the same."""
    causal: bool = False
    """Whether the model predicts the next token (otherwise masked tokens)."""
    is_encoder_decoder: bool = False
    """Whether the model is an encoder-decoder."""
    model_types: tuple[str, ...] = ()
    """Values of `model_type` in the configs of this family."""
    aliases: Mapping[str, str] = {}
    """Other names of keys of the config, which transformers accepts too."""
    fixed_keys: Mapping[str, Any] = {}
    """Keys of the config that have this value in every model of the family."""
    keys_without_effect: tuple[str, ...] = ()
    """Keys of the config that do not change the function that the model computes."""
    head_pattern: str | None = None
    """Regular expression for the beginning of the names of tensors that are left out: poolers, and
    heads of fine-tuning."""
    buffer_pattern: str | None = None
    """Regular expression for the names of constants that old checkpoints store with the weights."""

    @property
    def auto_class(self) -> str:
        """The auto class of transformers that loads the model with its head."""
        if self.is_encoder_decoder:
            return "AutoModelForSeq2SeqLM"
        return "AutoModelForCausalLM" if self.causal else "AutoModelForMaskedLM"

    def pretraining_objective(self, *, decoder_start: str | None = None) -> Objective:
        """An objective with a head of pretraining, for what concerns the body alone.

        `decoder_start`: role of the token that a decoder reads first.
        """
        if self.causal:
            return Lm(type="lm")
        return Mlm(type="mlm", masking=TokenMasking(unit="token"))

    @abstractmethod
    def structure_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        """Why `config` cannot describe such a model at all; None if it can.

        Options need no check here: `unsupported_reason` compares all of them.
        """

    def unsupported_reason(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> str | None:
        """Why a model cannot be exported as this family; None if it can.

        The config that an export would write is read back. The first option of the recipe that it
        does not give again is the reason. The reason completes "NAME: ..." in an error message,
        without a full stop.
        """
        reason = self.structure_reason(model, objective)
        if reason is not None:
            return reason
        try:
            blocks = self.blocks(self.config(model, objective, vocabulary), {})
            written = recipe_from_data(blocks, Architecture, name=self.name)
        except UserError as error:
            return str(error).removesuffix(".")
        expected = self.as_written(effective_options(model, objective))
        found = effective_options(written.model, written.objective)
        reason = first_difference(expected, found)
        if reason is None and not self._has_same_head(model, objective, expected, written):
            reason = f"objective.type = {objective.type}"
        return reason

    def as_written(self, options: Options) -> Options:
        """The options after changes of an export that leave the computed function as it is.

        An export may add tables and biases of zeros that the format always has.
        """
        return options

    def _has_same_head(
        self, model: ModelBlock, objective: Objective, expected: Options, written: Architecture
    ) -> bool:
        options = {k.removeprefix(f"{HEAD}."): v for k, v in expected.items() if k.startswith(HEAD)}
        head = getattr(objective, "head", None)
        if isinstance(head, Config):
            objective = objective.model_copy(update={"head": head.model_copy(update=options)})
        return head_modules(model, objective) == head_modules(written.model, written.objective)

    def priority(self, recipe: ModelRecipe) -> int:
        """Rank among the families that can hold a model; the export uses the highest."""
        return 0

    @abstractmethod
    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        """The content of `config.json`, for a model that `structure_reason` accepts."""

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
        patterns = (_BUFFERS, self.buffer_pattern)
        return any(pattern and re.search(pattern, name) for pattern in patterns)

    def is_left_out(self, name: str) -> bool:
        """Whether a tensor belongs to a pooler or head that an import leaves out."""
        return self.head_pattern is not None and re.match(self.head_pattern, name) is not None

    def has_signature_tensors(self, names: Collection[str]) -> bool:
        """Whether a checkpoint, bare or with a head, has all tensors of `signature_tensors`."""
        return set(self.signature_tensors) <= {self.qualified_name(name) for name in names}

    def matches_checkpoint(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        """Whether a checkpoint with tensors `names` is of this family.

        Models with the same tensor names and another computation have another model_type, so both
        decide. Without a model_type, the names decide.
        """
        named = config.get("model_type")
        return named in (None, *self.model_types) and self.has_signature_tensors(names)

    def matches_config(self, config: Mapping[str, Any]) -> bool:
        """Whether a config without weights is of this family."""
        return config.get("model_type") in self.model_types

    def blocks(self, content: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
        """The `model` and `objective` blocks of a recipe for the content of a config.json.

        `tensors` have the names that `qualified_name` gives, and are empty for a config without
        weights. Raises UserError for an unsupported value and for a key that the family does not
        declare, KeyError for a missing key.
        """
        config = self.read_config(content)
        blocks = self.to_recipe(config, tensors)
        config.check_declared(fixed=self.fixed_keys, without_effect=self.keys_without_effect)
        init = blocks["model"].get("init", {})
        if init.get("std") == 0:
            # Allowed in transformers, where a checkpoint replaces all initial weights.
            del init["std"]
        return blocks

    def read_config(self, content: Mapping[str, Any]) -> ModelConfig:
        """The content of a config.json by the names of keys that the family reads."""
        return ModelConfig(content, aliases=self.aliases)

    @abstractmethod
    def to_recipe(self, config: ModelConfig, tensors: Tensors) -> dict[str, Any]:
        """The `model` and `objective` blocks of a recipe.

        Call `blocks`, which checks that every key was read or declared. Raises as `blocks`.
        """

    @abstractmethod
    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        """The tensors under canonical names; tensors without a counterpart in ptm are left out.

        `tensors` have the names that `qualified_name` gives. A missing head stays missing. Raises
        KeyError for another missing tensor, UserError for tensors that contradict the config.
        """
