"""Reading a Hugging Face folder: config, vocabulary, weights in either format, whole or sharded."""

from __future__ import annotations

import json
import pickle
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ptm.errors import UserError
from ptm.interop.hf.contract import Family, families
from ptm.text.vocabulary import ROLES


class HuggingFaceFolder:
    """A folder that transformers' `from_pretrained` would load."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its config.json. Raises UserError where it cannot be read."""
        path = self.folder / "config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise UserError(f"{path}: is not JSON ({error}).") from error
        if not isinstance(config, dict):
            raise UserError(f"{path}: is not a model's configuration.")
        return config

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
                try:
                    shards = json.loads((self.folder / index).read_text())["weight_map"].values()
                except (ValueError, KeyError, AttributeError, TypeError) as error:
                    raise UserError(f"{self.folder / index}: is damaged ({error}).") from error
                return [self.folder / name for name in sorted(set(shards))]
        raise UserError(f"{self.folder}: has neither model.safetensors nor pytorch_model.bin.")

    @cached_property
    def family(self) -> Family:
        """The family its tensors are of. Raises UserError where none fits."""
        for family in families():
            if family.recognises(self.config, self.tensors.keys()):
                return family
        known = ", ".join(family.name for family in families())
        raise UserError(
            f'{self.folder}: model_type "{self.config.get("model_type")}" is not supported by its '
            f"tensors; supported: {known}."
        )

    def canonical(self) -> dict[str, Tensor]:
        """The tensors under canonical names. Raises UserError where some are missing."""
        try:
            return self.family.from_huggingface(self.tensors, self.config)
        except KeyError as error:
            raise UserError(f"{self.folder}: the weights or the config lack {error}.") from error
        except TypeError as error:
            raise UserError(
                f"{self.folder / 'config.json'}: has a wrong type ({error})."
            ) from error

    def recipe_data(self) -> dict[str, Any]:
        """The `tokenizer`, `model` and `objective` blocks of a recipe."""
        try:
            blocks = self.family.blocks(self.config, self.tensors.keys())
        except KeyError as error:
            raise UserError(f"{self.folder / 'config.json'}: lacks {error}.") from error
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{self.folder / 'config.json'}: has a wrong type ({error})."
            ) from error
        return {"tokenizer": self._tokenizer(), **blocks}

    def _tokenizer(self) -> dict[str, Any]:
        settings = {**self._pipeline_settings(), **self._tokenizer_settings()}
        lowercase = bool(settings.get("do_lower_case", True))
        for name, usual in (("strip_accents", lowercase), ("tokenize_chinese_chars", True)):
            if settings.get(name) not in (None, usual):
                raise UserError(
                    f"{self.folder}: its tokenizer has {name}: {json.dumps(settings[name])}, which "
                    f"is not supported here; the ids would differ."
                )
        specials = {
            role: settings[f"{role}_token"]
            for role in ROLES
            if isinstance(settings.get(f"{role}_token"), str)
        }
        return {
            "type": "char" if settings.get("ptm_type") == "char" else "wordpiece",
            "vocab": str(self._vocabulary_file),
            "lowercase": lowercase,
            "special_tokens": specials,
        }

    @cached_property
    def _vocabulary_file(self) -> Path:
        """`vocab.txt`, or the vocabulary of a `tokenizer.json` written out beside nothing else."""
        vocab = self.folder / "vocab.txt"
        if vocab.exists():
            return vocab
        model = self._pipeline.get("model", {})
        if model.get("type") != "WordPiece" or not isinstance(model.get("vocab"), dict):
            raise UserError(
                f"{self.folder}: has neither vocab.txt nor a tokenizer.json with WordPieces."
            )
        tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
        self._written = tempfile.TemporaryDirectory(prefix="ptm-vocabulary-")
        written = Path(self._written.name) / "vocab.txt"
        written.write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
        return written

    @cached_property
    def _pipeline(self) -> dict[str, Any]:
        return self._read_json("tokenizer.json")

    def _pipeline_settings(self) -> dict[str, Any]:
        """What a `tokenizer.json` says of BERT's normaliser, as tokenizer_config.json names it."""
        normalizer = self._pipeline.get("normalizer") or {}
        if normalizer.get("type") != "BertNormalizer":
            return {}
        return {
            "do_lower_case": normalizer["lowercase"],
            "strip_accents": normalizer["strip_accents"],
            "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
        }

    def _tokenizer_settings(self) -> dict[str, Any]:
        return self._read_json("tokenizer_config.json")

    def _read_json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        if not path.exists():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path}: is not JSON ({error}).") from error
        return content if isinstance(content, dict) else {}


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
