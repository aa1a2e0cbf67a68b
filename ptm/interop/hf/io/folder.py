"""Reading a Hugging Face folder: config, vocabulary, weights in either format, whole or sharded."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ptm.errors import UserError
from ptm.interop.folders import read_config
from ptm.interop.hf.base import Family
from ptm.interop.hf.families import families
from ptm.interop.hf.io.tokenizer_folder import HuggingFaceTokenizer
from ptm.interop.weight_checks import refuse_non_finite
from ptm.recipe import ModelRecipe

_WORDS = "word_embedding.weight"


class HuggingFaceFolder:
    """A folder that transformers' `from_pretrained` would load."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its config.json. Raises UserError where it cannot be read."""
        return read_config(self.folder / "config.json")

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors in fp32. Raises UserError where there are none or they are damaged."""
        files = self._weight_files()
        tensors: dict[str, Tensor] = {}
        for path in files:
            tensors.update(read_weights(path))
        return {
            name: tensor.float() for name, tensor in tensors.items() if tensor.is_floating_point()
        }

    def _weight_files(self) -> list[Path]:
        for whole, index in (
            ("model.safetensors", "model.safetensors.index.json"),
            ("pytorch_model.bin", "pytorch_model.bin.index.json"),
        ):
            if (self.folder / whole).exists():
                return [self.folder / whole]
            if (self.folder / index).exists():
                return _shards(self.folder / index)
        raise UserError(f"{self.folder}: has neither model.safetensors nor pytorch_model.bin.")

    @cached_property
    def family(self) -> Family:
        """The family its tensors are of. Raises UserError where none fits."""
        for family in families():
            if family.recognises(self.config, self.tensors.keys()):
                return family
        raise UserError(f"{self.folder}: its tensors are of no supported family ({self._lacking}).")

    @property
    def _lacking(self) -> str:
        """What the family that the config names has and the tensors have not."""
        named = f'model_type "{self.config.get("model_type")}"'
        for family in families():
            if family.described_by(self.config):
                there = {family.full_name(name) for name in self.tensors}
                lacking = [name for name in family.marks if name not in there]
                if lacking:
                    return f"for {named} of its config.json they lack {lacking[0]}"
        known = ", ".join(family.name for family in families())
        return f"{named} of its config.json; supported: {known}"

    def canonical(self) -> dict[str, Tensor]:
        """The tensors under canonical names.

        Raises UserError where some are missing, not of the config's shape, or not finite.
        """
        try:
            found = self.family.from_huggingface(self.tensors, self.config)
        except UserError as error:
            raise UserError(f"{self.folder}: {error}") from error
        except KeyError as error:
            raise UserError(f"{self.folder}: the weights or the config lack {error}.") from error
        except TypeError as error:
            raise UserError(
                f"{self.folder / 'config.json'}: has a wrong type ({error})."
            ) from error
        if not all(tensor.isfinite().all() for tensor in found.values()):
            refuse_non_finite(self.tensors, source=str(self.folder))
        return found

    def left_out(self, tensors: Mapping[str, Tensor], recipe: ModelRecipe) -> list[str]:
        """Names of theirs that would not come back from `tensors`, what `canonical` gave.

        Second copies of the word embedding and the output bias, which are tied, are none.
        """
        back = self.family.to_huggingface(tensors, recipe.model, recipe.objective)
        rows = len(tensors[_WORDS])
        by_word = [tensor for tensor in back.values() if len(tensor) == rows]
        return sorted(
            name
            for name, tensor in self.tensors.items()
            if self.family.full_name(name) not in back
            and not self.family.is_buffer(name)
            and not any(torch.equal(tensor, other) for other in by_word)
        )

    def recipe_data(self) -> dict[str, Any]:
        """The `tokenizer`, `model` and `objective` blocks of a recipe."""
        try:
            blocks = self.family.blocks(self.config, self.tensors)
        except UserError as error:
            raise UserError(f"{self.folder}: {error}") from error
        except KeyError as error:
            raise UserError(f"{self.folder / 'config.json'}: lacks {error}.") from error
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{self.folder / 'config.json'}: has a wrong type ({error})."
            ) from error
        if blocks["objective"]["type"] == "lm":
            blocks["objective"]["start"] = self._tokenizer.puts_start
        return {"tokenizer": dict(self._tokenizer.block), **blocks}

    @cached_property
    def _tokenizer(self) -> HuggingFaceTokenizer:
        return HuggingFaceTokenizer(self.folder, self.config)


def _shards(index: Path) -> list[Path]:
    """The files that an index names. Raises UserError for one outside of its folder."""
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        # By the name alone: in the hub's cache the files of a folder are links that lead out of it.
        beyond = [n for n in names if Path(n).is_absolute() or ".." in Path(n).parts]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{index}: is damaged ({error}).") from error
    if beyond:
        raise UserError(
            f'{index}: weight_map names "{beyond[0]}"; the files of a model lie in its folder.'
        )
    return [index.parent / name for name in names]


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a .safetensors or .bin. Raises UserError where it is damaged."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if not _looks_like_weights(path):
            raise UserError(
                f"{path}: is not a file of weights (a pointer to one, perhaps: `git lfs pull`)."
            )
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError) as error:
        raise UserError(f"{path}: cannot be read as weights ({error}).") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: wants to run code while it is loaded, which is refused; a file of tensors "
            "alone is needed."
        ) from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: is not a dictionary of tensors.")
    return {name: value for name, value in loaded.items() if isinstance(value, Tensor)}


def _looks_like_weights(path: Path) -> bool:
    """Whether a .bin begins as torch's files do: an archive, or a pickle."""
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04")
