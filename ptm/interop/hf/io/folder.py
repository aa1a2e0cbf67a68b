"""Read a Hugging Face folder: config, tokenizer, weights (.safetensors or .bin, also sharded)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptm.components.objectives.labelled_texts import LabelledObjective
from ptm.errors import UserError
from ptm.files.user_files import read_json
from ptm.interop.effective_options import effective_options, first_difference
from ptm.interop.folders import read_config
from ptm.interop.hf.base import Family
from ptm.interop.hf.families import families, model_types
from ptm.interop.hf.io.tokenizer_folder import HuggingFaceTokenizer
from ptm.interop.hf.io.vocabulary_options import (
    decoder_start,
    generation_options,
    padded_rows,
    special_ids,
)
from ptm.interop.hf.with_head import family_with_head
from ptm.interop.weight_checks import check_finite
from ptm.interop.weights_file import read_weights
from ptm.recipe import recipe_from_data
from ptm.recipe.model_recipe import Architecture, TokenizerRecipe

_WORDS = "word_embedding.weight"
_ARCHITECTURE = ("model", "objective")
_SHOWN = 3
"""Tensors that a message names."""


class HuggingFaceFolder:
    """A folder that `from_pretrained` of transformers loads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._head_note: str | None = None

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of config.json. Raises UserError if it cannot be read."""
        return read_config(self.folder / "config.json")

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """All floating-point tensors, in fp32. Raises UserError if files are absent or damaged."""
        return {
            name: tensor.float()
            for name, tensor in self._stored.items()
            if tensor.is_floating_point()
        }

    @cached_property
    def _stored(self) -> dict[str, Tensor]:
        """All tensors of the files, with the types that they have there."""
        tensors: dict[str, Tensor] = {}
        for path in self._weight_files():
            tensors.update(read_weights(path))
        return tensors

    def _weight_files(self) -> list[Path]:
        for whole, index in (
            ("model.safetensors", "model.safetensors.index.json"),
            ("pytorch_model.bin", "pytorch_model.bin.index.json"),
        ):
            if (self.folder / whole).exists():
                return [self.folder / whole]
            if (self.folder / index).exists():
                return _shards(self.folder / index)
        raise UserError(
            f"{self.folder}: no weights found. Add model.safetensors, pytorch_model.bin or an "
            "index of shards."
        )

    @cached_property
    def family(self) -> Family:
        """The family of the config's model_type that has such tensors, with the head if ptm has it.

        Raises UserError if there is no such family.
        """
        for family in families():
            if family.matches_checkpoint(self.config, self.tensors.keys()):
                return self._with_head(family)
        raise UserError(f"{self.folder}: {self._mismatch}")

    def _with_head(self, family: Family) -> Family:
        """The family with the head of fine-tuning that the folder has and an objective of ptm too.

        A head that no objective has is left out with a note.
        """
        found = family_with_head(family, self.config, self.tensors.keys())
        if found is None:
            return family
        tensors = {found.qualified_name(name): tensor for name, tensor in self.tensors.items()}
        architecture = self.config["architectures"][0]
        try:
            recipe_from_data(
                found.blocks(self.config, tensors), Architecture, name=f"the head of {architecture}"
            )
        except (UserError, KeyError, TypeError, ValueError) as error:
            # If the body is the reason, reading it without a head is an error too.
            self._head_note = f"the head of {architecture} was left out: {error}"
            return family
        return found

    @property
    def head_note(self) -> str | None:
        """Why the head of a fine-tuned model is left out; None if it is not, or without one."""
        return self._head_note if self.family else None

    @cached_property
    def _qualified(self) -> dict[str, Tensor]:
        """The tensors by the names that they have in a current model with a head.

        Raises UserError if two tensors have the same name there.
        """
        found: dict[str, Tensor] = {}
        for name, tensor in self.tensors.items():
            whole = self.family.qualified_name(name)
            if whole in found:
                raise UserError(f"the weights have {whole} twice, once as {name}.")
            found[whole] = tensor
        return found

    @property
    def _mismatch(self) -> str:
        """Why no family matches: the first tensor of the config's family that the weights lack.

        For a config of no supported family, its model_type and the supported families.
        """
        kind = self.config.get("model_type")
        for family in families():
            if family.matches_config(self.config):
                there = {family.qualified_name(name) for name in self.tensors}
                lacking = [name for name in family.signature_tensors if name not in there]
                if lacking:
                    return (
                        f'config.json has model_type "{kind}", but the weights lack {lacking[0]}.'
                    )
        known = f"Supported: {', '.join(model_types())}."
        if kind is None:
            return f"config.json has no model_type, and no family has such tensors. {known}"
        return f'model_type "{kind}" is not supported. {known}'

    def canonical(self) -> dict[str, Tensor]:
        """The tensors under canonical names.

        Raises UserError if a tensor is missing, contradicts the config, is not finite or is none
        of the family's.
        """
        family = self.family
        try:
            config = family.read_config(self.config)
            found = family.from_huggingface(self._qualified, config)
        except UserError as error:
            raise UserError(f"{self.folder}: {error}") from error
        except KeyError as error:
            raise UserError(f"{self.folder}: the weights or config.json lack {error}.") from error
        except TypeError as error:
            raise UserError(
                f"{self.folder / 'config.json'}: a value has the wrong type ({error})."
            ) from error
        if not all(tensor.isfinite().all() for tensor in found.values()):
            check_finite(self.tensors, source=str(self.folder))
        unknown = [name for name in self._unused(found) if not family.is_left_out(name)]
        if self._is_tied:
            for name in unknown:
                if self._stored[name].shape == found[_WORDS].shape:
                    raise UserError(
                        f"{self.folder}: {name} differs from the word embedding, but "
                        "tie_word_embeddings in config.json is not false. If the output is not "
                        "tied, set it to false."
                    )
        if unknown:
            shown = ", ".join(unknown[:_SHOWN]) + (", …" if len(unknown) > _SHOWN else "")
            raise UserError(
                f"{self.folder}: the weights have tensors that a model of family "
                f"{family.name} with this config.json does not have, so the model could "
                f"differ: {shown}."
            )
        return found

    def left_out(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Names of tensors that an import leaves out: poolers and heads without an objective.

        `tensors`: the result of `canonical`.
        """
        return [name for name in self._unused(tensors) if self.family.is_left_out(name)]

    def _unused(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Names of the folder's tensors that an export of `tensors` would not write again.

        Constants and copies of the tied word embedding or output bias do not count.
        """
        recipe = self._architecture
        shapes = {name: tensor.to("meta") for name, tensor in tensors.items()}
        back = self.family.to_huggingface(shapes, recipe.model, recipe.objective)
        rows = len(tensors[_WORDS])
        by_word = [tensor for tensor in tensors.values() if len(tensor) == rows]
        return sorted(
            name
            for name, tensor in self._stored.items()
            if self.family.qualified_name(name) not in back
            and not self.family.is_buffer(name)
            and not any(torch.equal(tensor.float(), other) for other in by_word)
        )

    @cached_property
    def _blocks(self) -> dict[str, Any]:
        """The `model` and `objective` blocks by config and tensors, without the tokenizer."""
        family = self.family
        try:
            return family.blocks(self.config, self._qualified)
        except UserError as error:
            raise UserError(f"{self.folder}: {error}") from error
        except KeyError as error:
            raise UserError(f"{self.folder / 'config.json'}: {error} is missing.") from error
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{self.folder / 'config.json'}: a value has the wrong type ({error})."
            ) from error

    def recipe_data(self) -> dict[str, Any]:
        """The `tokenizer`, `model` and `objective` blocks of a recipe.

        Raises UserError for a config or tokenizer that is not supported or damaged.
        """
        blocks = copy.deepcopy(self._blocks)
        if blocks["objective"]["type"] == "lm":
            blocks["objective"]["add_bos"] = self._tokenizer.adds_start
        reads_labelled = isinstance(self._architecture.objective, LabelledObjective)
        if reads_labelled:
            template = self._tokenizer.template
            blocks["objective"] |= {"template": template} if template else {}
        tokenizer = dict(self._tokenizer.block)
        named = recipe_from_data({"tokenizer": tokenizer}, TokenizerRecipe, name=str(self.folder))
        vocabulary = named.tokenizer.read()
        rows = padded_rows(self.folder, self.config, vocabulary)
        if rows is not None:
            blocks["model"]["embedding"]["rows"] = rows
        if self.family.is_encoder_decoder and not reads_labelled:
            try:
                generation = generation_options(self.folder, self.config)
                ids = special_ids(vocabulary)
                blocks["objective"] |= decoder_start(self.config, ids, generation)
                if vocabulary.has("bos") and not self._tokenizer.adds_start:
                    blocks["objective"]["add_bos"] = False
            except UserError as error:
                raise UserError(f"{self.folder}: {error}") from error
        return {"tokenizer": tokenizer, **blocks}

    def disagreement(self, data: Mapping[str, Any]) -> str | None:
        """The first option of a recipe's blocks that config.json and tensors do not give.

        None if they give all of them. An export of the recipe may have changed an option, such as
        the row of the first position.
        """
        recipe = recipe_from_data(
            {key: data[key] for key in _ARCHITECTURE}, Architecture, name=str(self.folder)
        )
        declared = effective_options(recipe.model, recipe.objective)
        exported = self.family.as_written(declared)
        found = effective_options(self._architecture.model, self._architecture.objective)
        same = {path for path, value in declared.items() if found.get(path) == value}
        return first_difference({k: v for k, v in exported.items() if k not in same}, found)

    @cached_property
    def _architecture(self) -> Architecture:
        blocks = {key: self._blocks[key] for key in _ARCHITECTURE}
        return recipe_from_data(blocks, Architecture, name=str(self.folder))

    @property
    def _is_tied(self) -> bool:
        """Whether the output matrix is the word embedding."""
        return bool(getattr(getattr(self._architecture.objective, "head", None), "tied", False))

    @cached_property
    def _tokenizer(self) -> HuggingFaceTokenizer:
        return HuggingFaceTokenizer(self.folder, self.config)


def _shards(index: Path) -> list[Path]:
    """The weight files that an index names. Raises UserError for a file outside its folder."""
    content = read_json(index)
    try:
        names = sorted(set(content["weight_map"].values()))
        # Check names, not resolved paths: in the Hub's cache files are links out of the folder.
        beyond = [n for n in names if Path(n).is_absolute() or ".." in Path(n).parts]
    except (KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{index}: the file is damaged ({error}).") from error
    if beyond:
        raise UserError(
            f'{index}: weight_map names "{beyond[0]}", which is outside the model\'s folder.'
        )
    return [index.parent / name for name in names]
