"""A family's body with a head of transformers: `BertForSequenceClassification` and its like."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.interop.effective_options import OBJECTIVE, Options, first_difference, head_options
from ptm.interop.hf.base import Family, Tensors
from ptm.interop.hf.heads import head_named
from ptm.interop.hf.heads.base import Head, HeadLayout
from ptm.interop.hf.model_config import ModelConfig
from ptm.recipe import ModelRecipe, recipe_from_data
from ptm.recipe.model_block import ModelBlock
from ptm.recipe.model_recipe import Architecture
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

_KINDS = ("weight", "bias")
_PRETRAINING = ("mlm_", "lm_", "pooler.", "pair_classifier.")
"""Beginnings of the canonical names of the heads of pretraining."""


class FamilyWithHead(Family):
    """The models of a family that end in `head` instead of the prediction of tokens."""

    def __init__(self, family: Family, head: Head) -> None:
        self._family, self._head = family, head
        self.name, self.base_prefix = family.name, family.base_prefix
        self.signature_tensors, self.import_only = family.signature_tensors, family.import_only
        self.causal, self.is_encoder_decoder = family.causal, family.is_encoder_decoder
        self.model_types, self.head_pattern = family.model_types, family.head_pattern
        self.aliases = family.aliases

    @property
    def auto_class(self) -> str:
        return self._head.auto_class

    @property
    def head(self) -> Head:
        """The head of the models."""
        return self._head

    @property
    def _layout(self) -> HeadLayout:
        return self._head.layouts[self.name]

    def _pretraining(self, objective: Objective) -> Objective:
        """An objective of pretraining with the same body as `objective`."""
        start = getattr(objective, "decoder_start", None)
        return self._family.pretraining_objective(decoder_start=start)

    def structure_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        return self._family.structure_reason(model, self._pretraining(objective))

    def unsupported_reason(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> str | None:
        """Why a model cannot be exported, as `Family.unsupported_reason`.

        The body is compared with the family's own objective in the place of the head's.
        """
        if self.name not in self._head.layouts:
            return f"transformers has no model of this family that is {self._head.suffix}"
        reason = self._family.unsupported_reason(model, self._pretraining(objective), vocabulary)
        if reason is not None:
            return reason
        try:
            blocks = self.blocks(self.config(model, objective, vocabulary), {})
            written = recipe_from_data(blocks, Architecture, name=self.name)
        except UserError as error:
            return str(error).removesuffix(".")
        return first_difference(head_options(objective), head_options(written.objective))

    def as_written(self, options: Options) -> Options:
        own = {path: value for path, value in options.items() if _is_of_objective(path)}
        body = {path: value for path, value in options.items() if path not in own}
        pretraining = head_options(self._family.pretraining_objective())
        changed = self._family.as_written({**body, **pretraining})
        return {**{p: v for p, v in changed.items() if not _is_of_objective(p)}, **own}

    def priority(self, recipe: ModelRecipe) -> int:
        return self._family.priority(recipe)

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        body = self._family.config(model, self._pretraining(objective), vocabulary)
        bare, _ = self._family.without_head(body, {})
        architecture = bare["architectures"][0].removesuffix("Model") + self._head.suffix
        return {
            **bare,
            "architectures": [architecture],
            **self._layout.config_keys(objective),
            **self._head.config_keys(objective),
        }

    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        whole = self._family.to_huggingface(tensors, model, self._pretraining(objective))
        prefix = self._layout.body_prefix or self.base_prefix
        found = {
            f"{prefix}{name.removeprefix(self.base_prefix)}": tensor
            for name, tensor in whole.items()
            if name.startswith(self.base_prefix)
        }
        head = {theirs: tensors[ours] for ours, theirs in self._head_names() if ours in tensors}
        return {**found, **head}

    def without_head(
        self, config: Mapping[str, Any], tensors: Tensors
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        modules = tuple(f"{name}." for name in self._layout.modules.values())
        body = {
            name: tensor
            for name, tensor in self._of_family(tensors).items()
            if not name.startswith(modules)
        }
        return self._family.without_head(config, body)

    def qualified_name(self, name: str) -> str:
        modules = tuple(f"{theirs}." for theirs in self._layout.modules.values())
        if name.startswith(modules):
            return name
        # With a prefix of its own, the body's names have it instead of the family's.
        whole = self._family.qualified_name(name)
        prefix = self._layout.body_prefix
        return whole if prefix is None else f"{prefix}{whole.removeprefix(self.base_prefix)}"

    def is_buffer(self, name: str) -> bool:
        return self._family.is_buffer(name)

    def matches_checkpoint(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        return self._family.matches_checkpoint(config, names)

    def blocks(self, content: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
        blocks = self._family.blocks(content, self._of_family(tensors))
        config = self.read_config(content)
        output = tensors.get(f"{[*self._layout.modules.values()][-1]}.weight")
        objective = self._head.objective_block(config, None if output is None else len(output))
        return {**blocks, OBJECTIVE: {**objective, **self._layout.read_options(config)}}

    def read_config(self, content: Mapping[str, Any]) -> ModelConfig:
        return self._family.read_config(content)

    def to_recipe(self, config: ModelConfig, tensors: Tensors) -> dict[str, Any]:
        return self._family.to_recipe(config, tensors)

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        body = self._family.from_huggingface(self._of_family(tensors), config)
        found = {name: t for name, t in body.items() if not name.startswith(_PRETRAINING)}
        head = {ours: tensors[theirs] for ours, theirs in self._head_names() if theirs in tensors}
        return {**found, **head}

    def _of_family(self, tensors: Tensors) -> dict[str, Tensor]:
        """The tensors under the names that the family gives them."""
        prefix = self._layout.body_prefix
        if prefix is None:
            return dict(tensors)
        return {
            f"{self.base_prefix}{name.removeprefix(prefix)}" if name.startswith(prefix) else name: t
            for name, t in tensors.items()
        }

    def _head_names(self) -> list[tuple[str, str]]:
        """Canonical and transformers' name of every tensor that the head may have."""
        return [
            (f"{ours}.{kind}", f"{theirs}.{kind}")
            for ours, theirs in self._layout.modules.items()
            for kind in _KINDS
        ]


def family_with_head(
    family: Family, config: Mapping[str, Any], names: Collection[str]
) -> FamilyWithHead | None:
    """The family with the head that a checkpoint has by its config's `architectures`.

    None for a head of pretraining, and for one that ptm has no objective of. `names`: those of the
    checkpoint's tensors; empty for a config without weights.
    """
    for architecture in config.get("architectures") or ():
        head = head_named(str(architecture))
        if head is None or family.name not in head.layouts:
            continue
        output = f"{[*head.layouts[family.name].modules.values()][-1]}.weight"
        if not names or output in names:
            return FamilyWithHead(family, head)
    return None


def _is_of_objective(path: str) -> bool:
    return re.match(rf"{OBJECTIVE}\.", path) is not None
