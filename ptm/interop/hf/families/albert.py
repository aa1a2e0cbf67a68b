"""ALBERT in transformers (Lan et al. 2019, arXiv:1909.11942): groups of layers share weights."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives import Objective
from ptm.components.objectives.albert import Albert as AlbertObjective
from ptm.components.objectives.mlm import Mlm
from ptm.errors import UserError
from ptm.interop.hf.base import Family, Tensors
from ptm.interop.hf.families.bert import has_pairs, with_segments
from ptm.interop.hf.shared import post_norm
from ptm.interop.hf.shared.naming import (
    KINDS,
    SEGMENTS,
    Naming,
    check_table_sizes,
    from_hf_names,
    to_hf_names,
    unsupported_option,
)
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

# Options that the config can express.
_EXPRESSIBLE_ENCODER = ("activation", "norm_epsilon", "shared_groups")
_EXPRESSIBLE_EMBEDDING = ("parts", "size", "rows", "positions", "segments")


class Albert(Family):
    """`AlbertForMaskedLM`, or `AlbertForPreTraining` with objective `albert` (sentence order)."""

    name = "albert"
    base_prefix = "albert."
    signature_tensors = (f"{_GROUPS}0.{_ONE_LAYER}attention.query.weight",)

    def unsupported_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        # Post-norm as in BERT, with layers shared or a projected embedding.
        encoder, embedding = model.encoder, model.embedding
        if not isinstance(encoder, Transformer) or encoder.norm_position != "post":
            return "the encoder is not a post-norm transformer"
        if not set(embedding.parts) <= {"word", "position", "segment"}:
            return f"model.embedding.parts = [{', '.join(embedding.parts)}]"
        if not embedding.layer_norm or not embedding.has_position_table:
            return "the embedding has no layer norm or no learned positions"
        if encoder.shared_groups is None and embedding.size in (None, encoder.hidden_size):
            return "neither model.encoder.shared_groups nor a narrower model.embedding.size is set"
        if not isinstance(objective, Mlm | AlbertObjective):
            return f"objective.type = {objective.type}"
        return unsupported_option(
            encoder, "model.encoder", expressible=_EXPRESSIBLE_ENCODER
        ) or unsupported_option(embedding, "model.embedding", expressible=_EXPRESSIBLE_EMBEDDING)

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        pairs, shape = isinstance(objective, AlbertObjective), model.shape(vocabulary.size)
        return {
            "architectures": ["AlbertForPreTraining" if pairs else "AlbertForMaskedLM"],
            "model_type": "albert",
            **post_norm.config_of(model, objective, vocabulary),
            "embedding_size": shape.embedding_size,
            "num_hidden_groups": len(_groups(post_norm.plain_encoder(model))),
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
        groups = _groups(post_norm.plain_encoder(model))
        return with_segments(
            to_hf_names({**same, **by_layer}, _NAMING, layers=len(groups)),
            name=_NAMING.tables[SEGMENTS],
            rows=model.embedding.segments,
            width=model.embedding.size or width,
        )

    def qualified_name(self, name: str) -> str:
        return _prefixed(name)

    def matches_checkpoint(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        return self.has_signature_tensors(names)

    def to_recipe(self, config: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
        if config.get("inner_group_num", 1) != 1:
            raise UserError(
                f"config.json: inner_group_num = {config['inner_group_num']} is not supported. "
                "Supported: 1."
            )
        # Defaults of AlbertConfig that differ from BertConfig's.
        silent = {
            "hidden_act": "gelu_new",
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        }
        pairs = has_pairs(config, {_prefixed(name) for name in tensors}, _NAMING)
        blocks = post_norm.blocks_of({**silent, **config}, objective="albert" if pairs else "mlm")
        blocks["model"]["embedding"]["size"] = config["embedding_size"]
        blocks["model"]["encoder"]["shared_groups"] = config.get("num_hidden_groups", 1)
        return blocks

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        theirs = {_prefixed(name): tensor for name, tensor in tensors.items()}
        groups = config.get("num_hidden_groups", 1)
        _check_layer_count(theirs, groups)
        sizes = {
            "vocab_size": _NAMING.tables["word_embedding.weight"],
            "type_vocab_size": _NAMING.tables[SEGMENTS],
        }
        check_table_sizes(theirs, config, sizes)
        found = from_hf_names(
            theirs,
            _NAMING,
            layers=groups,
            width=config["hidden_size"],
            tied=config.get("tie_word_embeddings", True),
        )
        if config["embedding_size"] == config["hidden_size"]:
            _drop_identity(found, width=config["hidden_size"])
        if not has_pairs(config, theirs, _NAMING):
            # A pooler without a pair head serves no objective of ptm.
            found = {name: t for name, t in found.items() if not name.startswith("pooler.")}
        return {
            re.sub(r"^encoder_(\d+)\.", r"encoder_group_\1.", name): tensor
            for name, tensor in found.items()
        }


def _groups(encoder: Transformer) -> set[str]:
    """Names of the groups of layers; a layer that shares no weights is a group of its own."""
    return {encoder.group(index) or f"encoder_{index:02}" for index in range(encoder.layers)}


def _check_layer_count(theirs: Tensors, groups: int) -> None:
    """Raise UserError if the weights have more groups or layers per group than the config."""
    for part, setting in (
        (f"{_GROUPS}{groups}.", f"num_hidden_groups = {groups}"),
        (".albert_layers.1.", "inner_group_num = 1"),
    ):
        beyond = sorted(name for name in theirs if part in name)
        if beyond:
            raise UserError(f"config.json: {setting}, but the weights have {beyond[0]}.")


def _drop_identity(found: dict[str, Tensor], *, width: int) -> None:
    """Remove the embedding's projection. Raises UserError if it is not the identity."""
    import torch

    weight, bias = (found.pop(f"{_PROJECTION}.{kind}") for kind in KINDS)
    if weight.shape != (width, width) or not torch.equal(weight, torch.eye(width)) or bias.any():
        raise UserError(
            f"config.json: embedding_size = hidden_size = {width}, but the weights of {_MAPPING} "
            "are not the identity, which is not supported."
        )


def _prefixed(name: str) -> str:
    """The name with the prefix `albert.`, which a bare `AlbertModel` lacks."""
    whole = ("albert.", "predictions.", "sop_classifier.")
    return name if name.startswith(whole) else f"albert.{name}"
