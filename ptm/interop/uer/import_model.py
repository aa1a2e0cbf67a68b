"""Read a checkpoint of UER-py or TencentPretrain with its config and vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptm.errors import UserError
from ptm.interop.uer import config as uer_config
from ptm.interop.uer.decoder import decodes, shares_words
from ptm.interop.uer.encoders import FORMATS, encoder_in_tensors
from ptm.interop.uer.names import TARGET_WORDS, WORDS, from_uer, with_current_names
from ptm.interop.uer.tables import ImportedTables, check_waves, with_first_rows
from ptm.interop.uer.targets import (
    BILM,
    CLASSES,
    MASKED,
    Target,
    check_target,
    options_in_tensors,
    other_heads,
    target_in_config,
    target_in_tensors,
)
from ptm.interop.uer.vocabularies import (
    Options,
    target_tokenizer_block,
    tokenizer_block,
    vocabulary_in,
)
from ptm.interop.weight_checks import check_finite, check_word_embedding
from ptm.interop.weights_file import read_weights
from ptm.recipe import ModelRecipe, recipe_from_data
from ptm.recipe.model_block import ModelBlock


@dataclass(frozen=True)
class UerCheckpoint:
    """A checkpoint file with its config and vocabulary."""

    weights: Path
    config_path: Path
    vocab: Path
    options: Options
    """Keys of the recipe's blocks that the checkpoint does not record."""

    @classmethod
    def find(
        cls,
        source: str,
        *,
        config: Path | None,
        vocab: Path | None,
        options: Options,
    ) -> UerCheckpoint:
        """Locate the checkpoint's files.

        `source` is a checkpoint file or a folder with one; `config` and `vocab` default to files in
        the checkpoint's folder. Raises UserError if a file is missing.
        """
        path = Path(source)
        if path.is_dir():
            found = sorted(path.glob("*.bin*"))
            if len(found) != 1:
                raise UserError(
                    f"{path}: files that match *.bin*: {len(found)}, expected 1. Pass the path of "
                    "the checkpoint."
                )
            path = found[0]
        if not path.is_file():
            raise UserError(f"{path}: is not a file. A UER-py checkpoint is a file such as x.bin.")
        config = config or path.with_name("config.json")
        if not config.is_file():
            raise UserError(
                f"{config}: does not exist. Pass the config that the model was trained with "
                "(UER-py's --config_path) as --config."
            )
        vocab = vocab or vocabulary_in(path.parent) or path.with_name("vocab.txt")
        if not vocab.is_file():
            raise UserError(
                f"{vocab}: does not exist. Pass the vocabulary that the model was trained with "
                "(UER-py's --vocab_path) as --vocab."
            )
        return cls(path, config, vocab, options)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The parsed config, with options of UER-py's command line inferred from the tensors.

        Raises UserError if it is not a UER-py config, or does not describe a decoder that the
        weights have.
        """
        config = uer_config.read_uer_config(self.config_path)
        if any(name.startswith("decoder.") for name in self._uer_tensors):
            if not decodes(config):
                raise UserError(
                    f"{self.weights}: has a decoder, but {self.config_path} does not describe one. "
                    "Use a config as in UER-py's models/ folder since 2022."
                )
            return config
        config = {"encoder": encoder_in_tensors(self._uer_tensors), **config}
        target = target_in_tensors(self._uer_tensors)
        if target is not MASKED and not {"mask", "target"} & config.keys():
            config = {**options_in_tensors(self._uer_tensors, target), **config}
        if target is CLASSES:
            # UER-py fine-tunes with the config of pretraining, and counts the labels of the data.
            config = {**config, "target": [CLASSES.name], "labels_num": self._labels}
        elif target is not MASKED and target.output is not None:
            config = {"has_lmtarget_bias": target.output.bias in self._uer_tensors, **config}
        encoder = FORMATS.get(str(config["encoder"]))
        return config if encoder is None else {**encoder.options_of(self._uer_tensors), **config}

    @cached_property
    def _uer_tensors(self) -> dict[str, Tensor]:
        stored = read_weights(self.weights)
        try:
            tensors = with_current_names(stored)
        except UserError as error:
            raise UserError(f"{self.weights}: {error}") from error
        if WORDS not in tensors:
            shown = ", ".join(sorted(tensors)[:5]) or "none"
            raise UserError(
                f"{self.weights}: is not a checkpoint of UER-py or TencentPretrain: it has no "
                f"tensor {WORDS} (tensors: {shown})."
            )
        found = {name: tensor.float() for name, tensor in tensors.items()}
        check_finite(found, source=str(self.weights))
        try:
            for part in ("word", "pos", "seg"):
                for side in ("", "tgt_"):
                    check_word_embedding(found, f"{side}embedding.{part}.embedding.weight")
        except UserError as error:
            raise UserError(f"{self.weights}: {error}") from error
        return found

    @property
    def _labels(self) -> int:
        """The number of labels of a classifier."""
        matrix = self._uer_tensors[CLASSES.matrix]
        if matrix.dim() != 2:
            raise UserError(
                f"{self.weights}: {CLASSES.matrix} has the shape {tuple(matrix.shape)}, but an "
                "output layer must have two dimensions."
            )
        return len(matrix)

    @cached_property
    def _tied(self) -> bool:
        """Whether the output matrix equals the word embedding; checkpoints store both if tied."""
        target = self._target
        if target in (BILM, CLASSES):
            return False
        name, table = target.matrix, TARGET_WORDS if decodes(self.config) else WORDS
        output, words = self._uer_tensors.get(name), self._uer_tensors.get(table)
        tied = output is None or (words is not None and torch.equal(output, words))
        # With a shared embedding, UER-py ties the output to a decoder's table and then replaces it.
        if self.config.get("tie_weights") and not tied and not shares_words(self.config):
            raise UserError(
                f"{self.weights}: {name} differs from {table}, but {self.config_path} has "
                "tie_weights = true."
            )
        return tied

    @property
    def _target(self) -> Target:
        """The target of the config, whose head is imported."""
        return target_in_config(self.config)

    @property
    def notes(self) -> tuple[str, ...]:
        """How tensors that contradict each other were imported."""
        tensors = self._uer_tensors
        if not (decodes(self.config) and shares_words(self.config)):
            return ()
        if torch.equal(tensors[TARGET_WORDS], tensors[WORDS]):
            return ()
        return (
            f"{WORDS} differs from {TARGET_WORDS}; share_embedding = true, so the latter was "
            "imported, as UER-py loads it",
        )

    @property
    def left_out(self) -> tuple[str, ...]:
        """Tensors of heads of other targets than that of the config."""
        return tuple(other_heads(self._uer_tensors, self._target))

    def blocks(self) -> dict[str, Any]:
        """Return the blocks of a recipe: `model`, `objective` and one or two tokenizers.

        Raises UserError if the config lacks a key or the model is not supported.
        """
        try:
            blocks = self._model_blocks()
        except KeyError as error:
            raise UserError(f"{self.config_path}: the key {error} is missing.") from error
        except UserError as error:
            raise UserError(f"{self.config_path}: {error}") from error
        canonical = self._canonical
        if not decodes(self.config):
            blocks["model"]["embedding"] |= ImportedTables.of(canonical).options()
        blocks["objective"] |= self._objective_options(blocks["objective"])
        blocks = {**self._tokenizers(), **blocks}
        recipe = recipe_from_data(blocks, ModelRecipe, name=str(self.config_path))
        try:
            check_waves(recipe.model, recipe.tokenizer.load().vocabulary.special_id("pad"))
        except UserError as error:
            raise UserError(f"{self.weights}: {error}") from error
        return blocks

    def _tokenizers(self) -> dict[str, Any]:
        words = len(self._uer_tensors[WORDS])
        block = {**tokenizer_block(self.vocab, words=words), **self.options.get("tokenizer", {})}
        if self.config.get("data_processor") == "mt" and not shares_words(self.config):
            target = target_tokenizer_block(
                self.weights.parent, self.options, words=len(self._uer_tensors[TARGET_WORDS])
            )
            return {"tokenizer": block, "target_tokenizer": target}
        if "target_tokenizer" in self.options:
            raise UserError(
                f"target_tokenizer is an option of models for translation with two word "
                f"embeddings only, and {self.weights} is none. Remove it."
            )
        return {"tokenizer": block}

    def _objective_options(self, block: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the keys of the `objective` block that were given as options.

        Raises UserError unless the model is a classifier, with the given number of labels.
        """
        options = self.options.get("objective", {})
        if not options:
            return {}
        if block["type"] != "classification":
            raise UserError(
                f"objective.{next(iter(options))} is an option for classifiers only, but "
                f"{self.weights} has the objective {block['type']}. Remove it."
            )
        labels = options.get("labels", block["labels"])
        given = len(labels) if isinstance(labels, list) else labels
        if given != block["labels"]:
            raise UserError(
                f"objective.labels declares {given} labels, but {self.weights} has "
                f"{block['labels']}. Name every label, in the order of their numbers."
            )
        return options

    def _model_blocks(self) -> dict[str, Any]:
        pairs = "target.sp.linear_1.weight" in self._uer_tensors
        uer_config.check_values(self.config)
        check_target(self.config, self._uer_tensors)
        uer_config.check_positions(self.config)
        blocks = uer_config.blocks_of(self.config, pairs=pairs, tied=self._tied)
        # Sizes are checked before tensors are looked for by them.
        recipe_from_data(blocks["model"], ModelBlock, name="model")
        return blocks

    @cached_property
    def _canonical(self) -> dict[str, Tensor]:
        """The weights by canonical name, with the rows of UER-py."""
        try:
            return from_uer(self._uer_tensors, self.config, tied=self._tied)
        except UserError as error:
            raise UserError(f"{self.weights}: {error}") from error
        except KeyError as error:
            raise UserError(
                f"{self.weights}: the tensor {error} is missing; {self.config_path} requires it."
            ) from error

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights by canonical name. Raises UserError unless they match the config."""
        if decodes(self.config):
            return with_first_rows(self._canonical)
        return ImportedTables.of(self._canonical).tensors(self._canonical)
