"""RoBERTa (Liu et al. 2019) as transformers has it: positions begin after the padding token's id.

What calls itself roberta but has a BERT's tensors, or a padding id of 0, is a BERT.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.interop.hf.base import Family, Tensors
from ptm.interop.hf.families.bert import bert_naming, modern_name, with_segments
from ptm.interop.hf.shared import post_norm
from ptm.interop.hf.shared.naming import SEGMENTS, from_theirs, refuse_other_rows, to_theirs
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

_NAMING = replace(
    bert_naming("roberta"),
    head={"mlm_transform.dense": "lm_head.dense", "mlm_transform.norm": "lm_head.layer_norm"},
    biases=("lm_head.bias", "lm_head.decoder.bias"),
    decoder="lm_head.decoder.weight",
)


class Roberta(Family):
    """`RobertaForMaskedLM`."""

    name = "roberta"
    base = "roberta."
    marks = ("roberta.encoder.layer.0.attention.self.query.weight",)

    def refusal(self, model: ModelBlock, objective: Objective) -> str | None:
        """What a BERT holds, with positions that do not begin at 0, and without a pair head."""
        parts, said = ("word", "position", "segment"), ("segments", "position_offset")
        reason = post_norm.refusal(model, objective, parts=parts, said=said)
        if reason is not None:
            return reason
        if model.embedding.position_offset == 0:
            return "its positions begin at 0, so that it is a BERT"
        if post_norm.plain_encoder(model).activation != "gelu":
            return "its activation is not gelu, which its head always has there"
        if post_norm.has_pair_head(model, objective):
            return "it has a pair head"
        return None

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        """`RobertaConfig`. Raises UserError where positions begin elsewhere than after padding."""
        first = vocabulary.special_id("pad") + 1
        if model.embedding.position_offset != first:
            raise UserError(
                f"model.embedding.position_offset = {model.embedding.position_offset}: "
                f"transformers' {self.name} counts positions from the padding token's id + 1, "
                f"which is {first} with {vocabulary.source}; only such a model can be exported."
            )
        return {
            "architectures": [f"{type(self).__name__}ForMaskedLM"],
            "model_type": self.name.replace("_", "-"),
            **post_norm.config_of(model, objective, vocabulary),
            "type_vocab_size": model.embedding.segments if _has_segments(model) else 1,
            "bos_token_id": vocabulary.special_id("cls"),
            "eos_token_id": vocabulary.special_id("sep"),
        }

    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        """A model without segments has one row of zeros for them there."""
        return with_segments(
            to_theirs(tensors, _NAMING, layers=post_norm.plain_encoder(model).layers),
            name=_NAMING.tables[SEGMENTS],
            rows=1,
            width=model.encoder.hidden_size,
        )

    def full_name(self, name: str) -> str:
        """With `roberta.`, of the encoder's."""
        return modern_name(name, "roberta")

    def recognises(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        """The prefix `roberta.`, or a bare encoder whose config counts from a padding id on."""
        if self._of_xlm(config):
            return False
        if any(name.startswith("roberta.encoder.layer.0.") for name in names):
            return True
        return (
            "roberta" in str(config.get("model_type"))
            and config.get("pad_token_id", 0) != 0
            and "encoder.layer.0.attention.self.query.weight" in names
        )

    def described_by(self, config: Mapping[str, Any]) -> bool:
        """Its model_type; with a padding id of 0 it is a BERT."""
        return config.get("model_type") == "roberta" and config.get("pad_token_id", 1) != 0

    def blocks(self, config: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
        """BERT's, with the first position. Raises UserError for what is not supported."""
        if config.get("hidden_act", "gelu") != "gelu":
            raise UserError(
                f'config.json: hidden_act "{config["hidden_act"]}": a RoBERTa\'s head has gelu '
                "whatever its layers have, which is supported for gelu alone."
            )
        blocks = post_norm.blocks_of(config)
        blocks["model"]["embedding"]["position_offset"] = config.get("pad_token_id", 1) + 1
        return blocks

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        """The inverse of `to_huggingface`; a missing head stays missing."""
        theirs = {modern_name(name, "roberta"): tensor for name, tensor in tensors.items()}
        sizes = {
            "vocab_size": _NAMING.tables["word_embedding.weight"],
            "type_vocab_size": _NAMING.tables[SEGMENTS],
        }
        refuse_other_rows(theirs, config, sizes)
        return from_theirs(
            theirs,
            _NAMING,
            layers=config["num_hidden_layers"],
            width=config["hidden_size"],
            tied=config.get("tie_word_embeddings", True),
        )

    def _of_xlm(self, config: Mapping[str, Any]) -> bool:
        """Whether the same tensors are an XLM-RoBERTa's, which only the config says."""
        return config.get("model_type") == "xlm-roberta"


def _has_segments(model: ModelBlock) -> bool:
    return "segment" in model.embedding.of
