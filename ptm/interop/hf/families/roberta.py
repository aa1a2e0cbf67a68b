"""RoBERTa in transformers (Liu et al. 2019, arXiv:1907.11692).

Positions start after the padding token's id. A checkpoint with model_type roberta but tensors with
the prefix bert is a BERT.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.interop.effective_options import Options
from ptm.interop.hf.base import Family, Tensors, plain_encoder
from ptm.interop.hf.families.bert import bert_naming, modern_name, with_segments
from ptm.interop.hf.model_config import ModelConfig
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
    model_types = ("roberta",)
    fixed_keys: Mapping[str, Any] = post_norm.NO_DECODER
    head_pattern = r"(roberta\.)?pooler\.|classifier\.|qa_outputs\."
    signature_tensors = ("roberta.encoder.layer.0.attention.self.query.weight",)

    def structure_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        return post_norm.structure_reason(model, objective)

    def as_written(self, options: Options) -> Options:
        return post_norm.with_zeros(options)

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
            to_hf_names(tensors, _NAMING, layers=plain_encoder(model).layers),
            name=_NAMING.tables[SEGMENTS],
            rows=1,
            width=model.encoder.hidden_size,
        )

    def qualified_name(self, name: str) -> str:
        return modern_name(name, "roberta")

    def matches_checkpoint(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        if config.get("model_type") is None:
            # A bare encoder has BERT's names, so without a model_type it is a BERT.
            return self.has_signature_tensors(
                [name for name in names if name.startswith(self.base_prefix)]
            )
        return super().matches_checkpoint(config, names)

    def to_recipe(self, config: ModelConfig, tensors: Tensors) -> dict[str, Any]:
        if post_norm.activation_from_config(config, "hidden_act") != "gelu":
            raise UserError(
                f'config.json: hidden_act "{config["hidden_act"]}" is not supported. Supported: '
                '"gelu", because the head of a RoBERTa always uses gelu.'
            )
        blocks = post_norm.blocks_of(config)
        blocks["model"]["embedding"]["position_offset"] = config.get("pad_token_id", 1) + 1
        return blocks

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        sizes = {
            "vocab_size": _NAMING.tables["word_embedding.weight"],
            "type_vocab_size": _NAMING.tables[SEGMENTS],
        }
        check_table_sizes(tensors, config, sizes)
        return from_hf_names(
            tensors,
            _NAMING,
            layers=config["num_hidden_layers"],
            width=config["hidden_size"],
            tied=config.get("tie_word_embeddings", True),
        )


def _has_segments(model: ModelBlock) -> bool:
    return "segment" in model.embedding.parts
