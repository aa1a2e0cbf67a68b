"""Read one of Google's TensorFlow 1 checkpoints of BERT or ALBERT: weights, config, vocabulary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from ptm.errors import UserError
from ptm.files.user_files import read_lines
from ptm.interop.hf.base import Family
from ptm.interop.hf.families import families
from ptm.interop.tf import names
from ptm.interop.tf.bundle import TensorBundle
from ptm.interop.tf.config import read_google_config
from ptm.interop.weight_checks import check_finite

_CONFIGS = {"bert": "bert_config.json", "albert": "albert_config.json"}
_VOCABULARIES = ("vocab.txt", "vocab_chinese.txt", "30k-clean.model")
_STATE = "checkpoint"
"""TensorFlow's file that names the newest checkpoint of a folder."""
_NEWEST = re.compile(r'^model_checkpoint_path: "(.*)"$', re.MULTILINE)
_FILES = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
_MARKED = re.compile(r"\[.*\]|<.*>")
"""Tokens that are no text, such as [CLS], and have capitals in every vocabulary."""


@dataclass(frozen=True)
class GoogleCheckpoint:
    """A checkpoint with its config and vocabulary.

    `others`: number of further checkpoints in the folder. `options`: keys of the recipe's
    `tokenizer` block that differ from the defaults.
    """

    bundle: TensorBundle
    config_path: Path
    vocab: Path
    others: int
    options: Mapping[str, Any]

    @classmethod
    def find(
        cls,
        source: str,
        *,
        config: Path | None,
        vocab: Path | None,
        options: Mapping[str, Any],
    ) -> GoogleCheckpoint:
        """Locate the files.

        `source` is a folder, a prefix such as `folder/bert_model.ckpt`, or one of its files;
        `config` and `vocab` default to files beside it. Raises UserError if a file is missing.
        """
        prefix, others = _prefix(Path(source))
        bundle, folder = TensorBundle(prefix), prefix.parent
        config = config or folder / _CONFIGS[_family(bundle).model_type]
        if not config.is_file():
            raise UserError(f"{config}: does not exist. Pass the model's config as --config.")
        found = [folder / name for name in _VOCABULARIES if (folder / name).is_file()]
        vocab = vocab or (found[0] if found else folder / _VOCABULARIES[0])
        if not vocab.is_file():
            raise UserError(f"{vocab}: does not exist. Pass the model's vocabulary as --vocab.")
        return cls(bundle, config, vocab, others, options)

    def blocks(self) -> dict[str, Any]:
        """Return the `tokenizer`, `model` and `objective` blocks of a recipe.

        Raises UserError if the config or the vocabulary is not supported.
        """
        try:
            blocks = self._family.blocks(self._config, self._huggingface)
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.config_path}: a value has the wrong type ({error}).") from error
        except UserError as error:
            raise self._explained(error) from error
        return {"tokenizer": {**self._tokenizer, **self.options}, **blocks}

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights by canonical name. Raises UserError unless they match the config."""
        try:
            found = self._family.from_huggingface(self._huggingface, self._config)
        except KeyError as error:
            raise UserError(
                f"{self.bundle.prefix}: no variable corresponds to {error}, which "
                f"{self.config_path} requires (the name is that of transformers)."
            ) from error
        except UserError as error:
            raise self._explained(error) from error
        check_finite(self._huggingface, source=str(self.bundle.prefix))
        return found

    @property
    def left_out(self) -> list[str]:
        """Names of variables that the model has no use for, without the optimizer's.

        These are heads of fine-tuning, and a pooler without the head that reads it.
        """
        pairs = "cls/seq_relationship/output_weights" in self.bundle.names
        return [
            name
            for name in self.bundle.names
            if names.is_other_head(name) or (name.startswith("bert/pooler/") and not pairs)
        ]

    @property
    def notes(self) -> list[str]:
        """Sentences about what was chosen and left out, for the user."""
        found = []
        if self.others:
            found.append(
                f"the folder has {self.others + 1} checkpoints; {self.bundle.prefix.name} is the "
                f"one that its file {_STATE} names as the newest"
            )
        optimizer = [name for name in self.bundle.names if names.is_optimizer_state(name)]
        if optimizer:
            kinds = sorted({name.rpartition("/")[2] for name in optimizer})
            found.append(
                f"state of the optimizer, not imported: {len(optimizer)} variables "
                f"({', '.join(kinds)})"
            )
        if "lowercase" not in self.options:
            lowercase = self._tokenizer["lowercase"]
            found.append(
                f"tokenizer.lowercase={str(lowercase).lower()}, because {self.vocab.name} has "
                f"{'no' if lowercase else ''} words with capitals".replace("  ", " ")
            )
        return found

    @cached_property
    def _family(self) -> Family:
        wanted = _family(self.bundle).model_type
        return next(family for family in families() if family.name == wanted)

    @cached_property
    def _config(self) -> dict[str, Any]:
        return read_google_config(self.config_path, self._family.name)

    @cached_property
    def _huggingface(self) -> dict[str, Tensor]:
        """The tensors under transformers' names, matrices as transformers has them."""
        family = _family(self.bundle)
        found = {}
        for name in self.bundle.names:
            theirs = family.renamed(name)
            if theirs is not None:
                tensor = self.bundle.read(name)
                found[theirs] = tensor.T.contiguous() if name.endswith(names.KERNEL) else tensor
            elif not names.is_optimizer_state(name) and not names.is_other_head(name):
                raise UserError(
                    f"{self.bundle.prefix}: the variable {name} is not one of Google's "
                    f"{family.model_type.upper()}, so the checkpoint is of another architecture, "
                    "which is not supported."
                )
        return found

    @cached_property
    def _tokenizer(self) -> dict[str, Any]:
        if self.vocab.suffix == ".model":
            raise UserError(
                f"{self.vocab}: ALBERT's English tokenizer is not supported. It rewrites quotes, "
                "accents and numbers around SentencePiece, so token ids would differ. Supported: "
                "a vocab.txt."
            )
        return {
            "type": "wordpiece",
            "vocab": str(self.vocab),
            "lowercase": not _has_capitals(self.vocab),
        }

    def _explained(self, error: UserError) -> UserError:
        """The error with the name of the config, which transformers' families call config.json."""
        text = str(error).replace("config.json", self.config_path.name)
        if text.startswith(f"{self.config_path.name}: "):
            return UserError(f"{self.config_path.parent}/{text}")
        return UserError(f"{self.bundle.prefix}: {text}")


def _prefix(source: Path) -> tuple[Path, int]:
    """The prefix of the checkpoint, and the number of further checkpoints in its folder."""
    if not source.is_dir():
        return source.with_name(_FILES.sub("", source.name)), 0
    found = sorted(path.with_suffix("") for path in source.glob("*.index"))
    if not found:
        raise UserError(
            f"{source}: has no TensorFlow checkpoint: there is no file *.index. Give the folder "
            "that has one, or the prefix of the checkpoint."
        )
    if len(found) == 1:
        return found[0], 0
    state = source / _STATE
    text = state.read_text(encoding="utf-8", errors="replace") if state.is_file() else ""
    newest = _NEWEST.search(text)
    # The path may be that of the machine that wrote the checkpoint; the files were copied.
    named = source / Path(newest[1]).name if newest else None
    if named not in found:
        shown = ", ".join(path.name for path in found)
        raise UserError(
            f"{source}: has {len(found)} checkpoints ({shown}), and no file {_STATE} that names "
            "one of them as the newest. Give the prefix of one of them."
        )
    return named, len(found) - 1


def _family(bundle: TensorBundle) -> names.Family:
    """The family of a checkpoint. Raises UserError if it is not one of Google's models."""
    words = "bert/embeddings/word_embeddings"
    if words not in bundle.names:
        shown = ", ".join(bundle.names[:4]) or "none"
        raise UserError(
            f"{bundle.prefix}: is not a checkpoint of Google's BERT or ALBERT: it has no variable "
            f"{words} (variables: {shown})."
        )
    shared = "bert/encoder/transformer/group_0/"
    albert = any(name.startswith(shared) for name in bundle.names)
    return names.ALBERT if albert else names.BERT


def _has_capitals(vocab: Path) -> bool:
    """Whether ordinary tokens have capitals, so that the text was not lowercased.

    Raises UserError if the file cannot be read.
    """
    tokens = read_lines(vocab)
    return any(token != token.lower() for token in tokens if not _MARKED.fullmatch(token.strip()))
