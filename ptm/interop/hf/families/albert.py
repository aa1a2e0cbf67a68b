"""ALBERT in transformers (Lan et al. 2019, arXiv:1909.11942): groups of layers share weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives import Objective
from ptm.components.objectives.albert import Albert as AlbertObjective
from ptm.errors import UserError
from ptm.interop.effective_options import Options
from ptm.interop.hf.base import Family, Tensors, plain_encoder
from ptm.interop.hf.families.bert import has_pairs, modern_norm, with_segments
from ptm.interop.hf.model_config import ModelConfig
from ptm.interop.hf.shared import post_norm
from ptm.interop.hf.shared.naming import (
    KINDS,
    SEGMENTS,
    Naming,
    check_layer_count,
    check_table_sizes,
    from_hf_names,
    to_hf_names,
)
from ptm.recipe import ModelRecipe
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

_EMBEDDINGS = "albert.embeddings."
_GROUPS = "albert.encoder.albert_layer_groups."
_ONE_LAYER = "albert_layers.0."
_MAPPING = "albert.encoder.embedding_hidden_mapping_in"
_PROJECTION = "embedding.projection"

# Groups take the place of layers: one group's tensors are used by several layers.
_NAMING = Naming(
    tables={
        "word_embedding.weight": f"{_EMBEDDINGS}word_embeddings.weight",
        "embedding.position.weight": f"{_EMBEDDINGS}position_embeddings.weight",
        SEGMENTS: f"{_EMBEDDINGS}token_type_embeddings.weight",
    },
    modules={"embedding.norm": f"{_EMBEDDINGS}LayerNorm", _PROJECTION: _MAPPING},
    head={
        "mlm_transform.dense": "predictions.dense",
        "mlm_transform.norm": "predictions.LayerNorm",
        "pooler.dense": "albert.pooler",
        "pair_classifier": "sop_classifier.classifier",
    },
    layer=_GROUPS,
    attention=(
        f"{_ONE_LAYER}attention.query",
        f"{_ONE_LAYER}attention.key",
        f"{_ONE_LAYER}attention.value",
    ),
    inside={
        "attention.output": f"{_ONE_LAYER}attention.dense",
        "attention_norm": f"{_ONE_LAYER}attention.LayerNorm",
        "feed_forward.up": f"{_ONE_LAYER}ffn",
        "feed_forward.down": f"{_ONE_LAYER}ffn_output",
        "feed_forward_norm": f"{_ONE_LAYER}full_layer_layer_norm",
    },
    biases=("predictions.bias", "predictions.decoder.bias"),
    decoder="predictions.decoder.weight",
)


class Albert(Family):
    """`AlbertForMaskedLM`, or `AlbertForPreTraining` with objective `albert` (sentence order)."""

    name = "albert"
    base_prefix = "albert."
    model_types = ("albert",)
    head_pattern = r"(albert\.)?pooler\.|sop_classifier\.|classifier\.|qa_outputs\."
    fixed_keys: Mapping[str, Any] = {
        "inner_group_num": 1,
        "net_structure_type": 0,
        "num_memory_blocks": 0,
        "ln_type": "postln",
    }
    # Google's training program had these; transformers reads none of them.
    keys_without_effect: tuple[str, ...] = ("down_scale_factor", "gap_size", "layers_to_keep")
    signature_tensors = (f"{_GROUPS}0.{_ONE_LAYER}attention.query.weight",)

    def structure_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        return post_norm.structure_reason(model, objective)

    def priority(self, recipe: ModelRecipe) -> int:
        # After BERT, which is the same model without shared layers and projection.
        return -1

    def as_written(self, options: Options) -> Options:
        # Layers that share no weights are groups of one layer.
        groups = options["model.encoder.shared_groups"] or options["model.encoder.layers"]
        return {**post_norm.with_zeros(options), "model.encoder.shared_groups": groups}

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        pairs, shape = isinstance(objective, AlbertObjective), model.shape(vocabulary.size)
        return {
            "architectures": ["AlbertForPreTraining" if pairs else "AlbertForMaskedLM"],
            "model_type": "albert",
            **post_norm.config_of(model, objective, vocabulary),
            "embedding_size": shape.embedding_size,
            "num_hidden_groups": len(_groups(plain_encoder(model))),
            "inner_group_num": 1,
            "classifier_dropout_prob": shape.dropout,
            "bos_token_id": vocabulary.special_id("cls"),
            "eos_token_id": vocabulary.special_id("sep"),
        }

    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        import torch

        width = model.encoder.hidden_size
        # transformers projects the embedding even if its size is the hidden size.
        same = {
            f"{_PROJECTION}.weight": torch.eye(width),
            f"{_PROJECTION}.bias": torch.zeros(width),
        }
        # `_NAMING` has groups in the place of layers.
        by_layer = {
            name.replace("encoder_group_", "encoder_"): tensor for name, tensor in tensors.items()
        }
        groups = _groups(plain_encoder(model))
        return with_segments(
            to_hf_names({**same, **by_layer}, _NAMING, layers=len(groups)),
            name=_NAMING.tables[SEGMENTS],
            rows=model.embedding.segments,
            width=model.embedding.size or width,
        )

    def qualified_name(self, name: str) -> str:
        whole = ("albert.", "predictions.", "sop_classifier.")
        name = modern_norm(name)
        return name if name.startswith(whole) else f"albert.{name}"

    def to_recipe(self, config: ModelConfig, tensors: Tensors) -> dict[str, Any]:
        # Defaults of AlbertConfig that differ from BertConfig's.
        silent = {
            "hidden_act": "gelu_new",
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        }
        pairs = has_pairs(config, tensors, _NAMING)
        blocks = post_norm.blocks_of(
            config.with_defaults(silent), objective="albert" if pairs else "mlm"
        )
        blocks["model"]["embedding"]["size"] = config["embedding_size"]
        blocks["model"]["encoder"]["shared_groups"] = config.get("num_hidden_groups", 1)
        return blocks

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        groups = config.get("num_hidden_groups", 1)
        check_layer_count(tensors, _GROUPS, groups, key="num_hidden_groups")
        sizes = {
            "vocab_size": _NAMING.tables["word_embedding.weight"],
            "type_vocab_size": _NAMING.tables[SEGMENTS],
        }
        check_table_sizes(tensors, config, sizes)
        found = from_hf_names(
            tensors,
            _NAMING,
            layers=groups,
            width=config["hidden_size"],
            tied=config.get("tie_word_embeddings", True),
        )
        if config["embedding_size"] == config["hidden_size"]:
            _drop_identity(found, width=config["hidden_size"])
        if not has_pairs(config, tensors, _NAMING):
            # A pooler without a pair head serves no objective of ptm.
            found = {name: t for name, t in found.items() if not name.startswith("pooler.")}
        return {
            re.sub(r"^encoder_(\d+)\.", r"encoder_group_\1.", name): tensor
            for name, tensor in found.items()
        }


def _groups(encoder: Transformer) -> set[str]:
    """Names of the groups of layers; a layer that shares no weights is a group of its own."""
    return {encoder.group(index) or f"encoder_{index:02}" for index in range(encoder.layers)}


def _drop_identity(found: dict[str, Tensor], *, width: int) -> None:
    """Remove the embedding's projection. Raises UserError if it is not the identity."""
    import torch

    weight, bias = (found.pop(f"{_PROJECTION}.{kind}") for kind in KINDS)
    if weight.shape != (width, width) or not torch.equal(weight, torch.eye(width)) or bias.any():
        raise UserError(
            f"config.json: embedding_size = hidden_size = {width}, but the weights of {_MAPPING} "
            "are not the identity, which is not supported."
        )
