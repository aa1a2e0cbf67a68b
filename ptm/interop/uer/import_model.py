"""Read a checkpoint of UER-py or TencentPretrain with its config and vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptm.errors import UserError
from ptm.interop.uer import config as uer_config
from ptm.interop.uer import two_stack_names, two_stacks
from ptm.interop.uer.encoders import FORMATS, encoder_in_tensors
from ptm.interop.uer.names import (
    POSITIONS,
    SEGMENTS,
    WORDS,
    from_uer,
    with_current_names,
)
from ptm.interop.uer.targets import (
    BILM,
    CLASSES,
    MASKED,
    check_target,
    options_in_tensors,
    target_in_tensors,
)
from ptm.interop.weight_checks import check_finite, check_word_embedding
from ptm.interop.weights_file import read_weights
from ptm.recipe.source import RecipeSource
from ptm.text.tokenizers.sentencepiece_file import read_sentencepiece

_XLM_ROBERTA_OFFSET = 2
"""Row of the first position in an XLM-RoBERTa's table."""
_ADDED_BY_FAIRSEQ = 2
"""Tokens of fairseq's numbering that are not pieces of the SentencePiece file."""
_OPTIONS = {"objective": ("labels", "pooling")}
"""Keys of other blocks than `tokenizer` that an import accepts."""
Options = Mapping[str, Mapping[str, Any]]
"""Block of a recipe to some of its keys."""
_VOCABULARIES = ("vocab.txt", "vocab.json", "*.model")


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
        vocab = vocab or next(
            (found for name in _VOCABULARIES for found in path.parent.glob(name)),
            path.with_name(_VOCABULARIES[0]),
        )
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
            if not two_stacks.decodes(config):
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
                check_word_embedding(found, f"embedding.{part}.embedding.weight")
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
        target = target_in_tensors(self._uer_tensors)
        if target in (BILM, CLASSES):
            return False
        name, output = target.matrix, self._uer_tensors.get(target.matrix)
        tied = output is None or torch.equal(output, self._uer_tensors[WORDS])
        if self.config.get("tie_weights") and not tied:
            raise UserError(
                f"{self.weights}: {name} differs from {WORDS}, but {self.config_path} has "
                "tie_weights = true."
            )
        return tied

    @property
    def _has_xlm_roberta_positions(self) -> bool:
        """Whether the position table is XLM-RoBERTa's, moved to row 0 and padded with zero rows."""
        positions = self._uer_tensors.get("embedding.pos.embedding.weight")
        return (
            positions is not None
            and len(positions) > _XLM_ROBERTA_OFFSET
            and not positions[-_XLM_ROBERTA_OFFSET:].any()
        )

    @property
    def _one_segment(self) -> bool:
        """Whether the row of the second segment (row 2) is all zeros, so that it is unused."""
        segments = self._uer_tensors.get("embedding.seg.embedding.weight")
        return segments is not None and len(segments) > 2 and not segments[2].any()

    def blocks(self) -> dict[str, Any]:
        """Return the `tokenizer`, `model` and `objective` blocks of a recipe.

        Raises UserError if the config lacks a key or the model is not supported.
        """
        try:
            blocks = self._model_blocks()
        except KeyError as error:
            raise UserError(f"{self.config_path}: the key {error} is missing.") from error
        except UserError as error:
            raise UserError(f"{self.config_path}: {error}") from error
        if self._has_xlm_roberta_positions and not two_stacks.decodes(self.config):
            blocks["model"]["embedding"]["position_offset"] = _XLM_ROBERTA_OFFSET
            if self._one_segment:
                blocks["model"]["embedding"]["segments"] = 1
        tokenizer = _tokenizer(self.vocab, words=len(self._uer_tensors[WORDS]))
        blocks["objective"] |= self._objective_options(blocks["objective"])
        return {"tokenizer": {**tokenizer, **self.options.get("tokenizer", {})}, **blocks}

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
        if two_stacks.decodes(self.config):
            return two_stacks.blocks_of(self.config, tied=self._tied)
        pairs = "target.sp.linear_1.weight" in self._uer_tensors
        uer_config.check_values(self.config)
        check_target(self.config, self._uer_tensors)
        return uer_config.blocks_of(self.config, pairs=pairs, tied=self._tied)

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights by canonical name. Raises UserError unless they match the config."""
        try:
            found = self._canonical()
        except UserError as error:
            raise UserError(f"{self.weights}: {error}") from error
        except KeyError as error:
            raise UserError(
                f"{self.weights}: the tensor {error} is missing; {self.config_path} requires it."
            ) from error
        if self._has_xlm_roberta_positions and not two_stacks.decodes(self.config):
            found[POSITIONS] = found[POSITIONS].roll(_XLM_ROBERTA_OFFSET, dims=0)
            if self._one_segment:
                found[SEGMENTS] = found[SEGMENTS][:2]
        return found

    def _canonical(self) -> dict[str, Tensor]:
        if two_stacks.decodes(self.config):
            return two_stack_names.from_uer(self._uer_tensors, self.config, tied=self._tied)
        encoder = uer_config.encoder_format(self.config)
        return from_uer(self._uer_tensors, encoder, self.config, tied=self._tied)


def import_options(overrides: Sequence[str]) -> Options:
    """Parse KEY=VALUE overrides of what checkpoints do not record into blocks of a recipe.

    Any key of `tokenizer` is accepted, and for classifiers objective.labels and objective.pooling.
    Raises UserError for any other override.
    """
    source = RecipeSource({}, "options", {})
    for text in overrides:
        key, equals, _ = text.partition("=")
        block, _, option = key.partition(".")
        known = bool(option) and "." not in option and block == "tokenizer"
        if not equals or not (known or option in _OPTIONS.get(block, ())):
            raise UserError(
                f'"{text}": an import accepts only tokenizer.KEY=VALUE, such as '
                "tokenizer.lowercase=false, and for classifiers objective.labels and "
                "objective.pooling. All other settings are read from the checkpoint and its "
                "config."
            )
        source.override(text)
    return source.data


def _tokenizer(vocab: Path, *, words: int) -> dict[str, Any]:
    """Return the `tokenizer` block of a vocabulary file. `words`: rows of the word embedding."""
    if vocab.suffix == ".model":
        # fairseq's numbering (XLM-R) adds <pad> and <mask> to the pieces of the file.
        more = words - len(read_sentencepiece(str(vocab)).tokens)
        numbering = "fairseq" if more == _ADDED_BY_FAIRSEQ else "file"
        return {"type": "sentencepiece", "model": str(vocab), "ids": numbering}
    if vocab.suffix == ".json":
        return {"type": "bpe", "vocab": str(vocab), "merges": str(vocab.with_name("merges.txt"))}
    return {"type": "wordpiece", "vocab": str(vocab)}
