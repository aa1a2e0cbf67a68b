"""RoBERTa in transformers (Liu et al. 2019, arXiv:1907.11692).

Positions start after the padding token's id. A checkpoint with model_type roberta but BERT's
tensors, or with padding id 0, is a BERT.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.interop.hf.base import Family, Tensors
from ptm.interop.hf.families.bert import bert_naming, modern_name, with_segments
from ptm.interop.hf.shared import post_norm
from ptm.interop.hf.shared.naming import SEGMENTS, check_table_sizes, from_hf_names, to_hf_names
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

_NAMING = replace(
    bert_naming("roberta"),
    head={"mlm_transform.dense": "lm_head.dense", "mlm_transform.norm": "lm_head.layer_norm"},
    biases=("lm_head.bias", "lm_head.decoder.bias"),
    decoder="lm_head.decoder.weight",
)


class Roberta(Family):
    """`RobertaForMaskedLM`."""

    name = "roberta"
    base_prefix = "roberta."
    signature_tensors = ("roberta.encoder.layer.0.attention.self.query.weight",)

    def unsupported_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        parts, expressible = ("word", "position", "segment"), ("segments", "position_offset")
        reason = post_norm.unsupported_reason(
            model, objective, parts=parts, expressible=expressible
        )
        if reason is not None:
            return reason
        if model.embedding.position_offset == 0:
            return "model.embedding.position_offset = 0, so the model is a BERT"
        if post_norm.plain_encoder(model).activation != "gelu":
            return "model.encoder.activation is not gelu, which the head always has in transformers"
        if post_norm.has_pair_head(model, objective):
            return "the model has a pair head"
        return None

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        """The content of `config.json`.

        Raises UserError unless positions start at the padding token's id + 1.
        """
        first = vocabulary.special_id("pad") + 1
        if model.embedding.position_offset != first:
            raise UserError(
                f"model.embedding.position_offset = {model.embedding.position_offset} cannot be "
                f"exported: in transformers, {self.name} numbers positions from the padding "
                f"token's id + 1, which is {first} with {vocabulary.source}."
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
        return with_segments(
            to_hf_names(tensors, _NAMING, layers=post_norm.plain_encoder(model).layers),
            name=_NAMING.tables[SEGMENTS],
            rows=1,
            width=model.encoder.hidden_size,
        )

    def qualified_name(self, name: str) -> str:
        return modern_name(name, "roberta")

    def matches_checkpoint(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        if self._is_xlm(config):
            return False
        if any(name.startswith("roberta.encoder.layer.0.") for name in names):
            return True
        # A bare encoder has BERT's names; with padding id 0 it numbers positions as BERT does.
        return (
            "roberta" in str(config.get("model_type"))
            and config.get("pad_token_id", 0) != 0
            and "encoder.layer.0.attention.self.query.weight" in names
        )

    def matches_config(self, config: Mapping[str, Any]) -> bool:
        # With padding id 0, positions are numbered as in BERT.
        return config.get("model_type") == "roberta" and config.get("pad_token_id", 1) != 0

    def to_recipe(self, config: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
        if config.get("hidden_act", "gelu") != "gelu":
            raise UserError(
                f'config.json: hidden_act "{config["hidden_act"]}" is not supported. Supported: '
                '"gelu", because the head of a RoBERTa always uses gelu.'
            )
        blocks = post_norm.blocks_of(config)
        blocks["model"]["embedding"]["position_offset"] = config.get("pad_token_id", 1) + 1
        return blocks

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        theirs = {modern_name(name, "roberta"): tensor for name, tensor in tensors.items()}
        sizes = {
            "vocab_size": _NAMING.tables["word_embedding.weight"],
            "type_vocab_size": _NAMING.tables[SEGMENTS],
        }
        check_table_sizes(theirs, config, sizes)
        return from_hf_names(
            theirs,
            _NAMING,
            layers=config["num_hidden_layers"],
            width=config["hidden_size"],
            tied=config.get("tie_word_embeddings", True),
        )

    def _is_xlm(self, config: Mapping[str, Any]) -> bool:
        """Whether the model_type is XLM-RoBERTa's, whose tensors have the same names."""
        return config.get("model_type") == "xlm-roberta"


def _has_segments(model: ModelBlock) -> bool:
    return "segment" in model.embedding.parts
