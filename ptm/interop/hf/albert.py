"""ALBERT as transformers has it (Lan et al. 2019): layers in groups that share their weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from ptm.encoders.transformer import Transformer
from ptm.errors import UserError
from ptm.interop.hf.contract import Family, Tensors
from ptm.interop.hf.unsaid import unsaid
from ptm.objectives import Objective
from ptm.objectives.mlm import Mlm
from ptm.recipe.blocks import ModelBlock
from ptm.text.vocabulary import Vocabulary

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_new",
    "relu": "relu",
    "silu": "silu",
    "tanh": "tanh",
}
_EMBEDDING = "albert.embeddings."
_GROUP = "albert.encoder.albert_layer_groups."
_MAPPING = "albert.encoder.embedding_hidden_mapping_in"
_HEAD = "predictions."
_BIASES = (_HEAD + "bias", _HEAD + "decoder.bias")
_SEGMENTS = _EMBEDDING + "token_type_embeddings.weight"
_KINDS = ("weight", "bias")

# (ours, transformers').
_TABLES = (
    ("word_embedding.weight", _EMBEDDING + "word_embeddings.weight"),
    ("embedding.position.weight", _EMBEDDING + "position_embeddings.weight"),
)
# Likewise, without `.weight` and `.bias`.
_OUTSIDE = (
    ("embedding.norm", _EMBEDDING + "LayerNorm"),
    ("mlm_transform.dense", _HEAD + "dense"),
    ("mlm_transform.norm", _HEAD + "LayerNorm"),
)
_INSIDE = (
    ("attention.output", "attention.dense"),
    ("attention_norm", "attention.LayerNorm"),
    ("feed_forward.up", "ffn"),
    ("feed_forward.down", "ffn_output"),
    ("feed_forward_norm", "full_layer_layer_norm"),
)
_ATTENTION = tuple(f"attention.{part}" for part in ("query", "key", "value"))

# Options that the config says something of.
_SAID_OF_ENCODER = ("activation", "norm_epsilon", "shared_groups")
_SAID_OF_EMBEDDING = ("of", "size", "positions", "segments")


class Albert(Family):
    """`AlbertForMaskedLM`."""

    name = "albert"

    def refusal(self, model: ModelBlock, objective: Objective) -> str | None:
        """ALBERT's layers are BERT's, but shared; it has a norm and learnt positions before."""
        encoder, embedding = model.encoder, model.embedding
        if not isinstance(encoder, Transformer) or encoder.norm_position != "post":
            return "its encoder is not a post-norm transformer"
        if not set(embedding.of) <= {"word", "position", "segment"}:
            return f"its embedding is of {', '.join(embedding.of)}"
        if not embedding.layer_norm or not embedding.learns_positions:
            return "its embedding has no layer norm or no learnt positions"
        if encoder.shared_groups is None and embedding.size in (None, encoder.hidden_size):
            return "it neither shares layers nor has a narrower embedding"
        if not isinstance(objective, Mlm):
            return f"it was trained with objective {objective.type}"
        return unsaid(encoder, "model.encoder", said=_SAID_OF_ENCODER) or unsaid(
            embedding, "model.embedding", said=_SAID_OF_EMBEDDING
        )

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        """`AlbertConfig`."""
        encoder, shape = model.encoder, model.shape(vocabulary.size)
        assert isinstance(encoder, Transformer), "refused before"
        assert isinstance(objective, Mlm), "refused before"
        return {
            "architectures": ["AlbertForMaskedLM"],
            "model_type": "albert",
            "vocab_size": vocabulary.size,
            "embedding_size": shape.embedding_size,
            "hidden_size": encoder.hidden_size,
            "num_hidden_layers": encoder.layers,
            "num_hidden_groups": len(_groups(encoder)),
            "inner_group_num": 1,
            "num_attention_heads": encoder.heads,
            "intermediate_size": encoder.feed_forward_size,
            "hidden_act": _ACTIVATIONS[encoder.activation],
            "hidden_dropout_prob": shape.dropout,
            "attention_probs_dropout_prob": shape.attention_dropout,
            "classifier_dropout_prob": shape.dropout,
            "max_position_embeddings": shape.positions,
            "type_vocab_size": model.embedding.segments,
            "initializer_range": model.init.std,
            "layer_norm_eps": encoder.norm_epsilon,
            "pad_token_id": vocabulary.special_id("pad"),
            "bos_token_id": vocabulary.special_id("cls"),
            "eos_token_id": vocabulary.special_id("sep"),
            "tie_word_embeddings": objective.head.tied,
            "torch_dtype": "float32",
        }

    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        """Query, key and value are apart there; there is no segment row for padding."""
        found = {theirs: tensors[ours] for ours, theirs in _TABLES}
        words = tensors["word_embedding.weight"]
        segments = tensors.get("embedding.segment.weight")
        found[_SEGMENTS] = (
            torch.zeros(model.embedding.segments, words.shape[1])
            if segments is None
            else segments[1:]
        )
        # There the mapping to the encoder's width is a matrix even where the widths are one.
        found[_MAPPING + ".weight"] = tensors.get(
            "embedding.projection.weight", torch.eye(words.shape[1])
        )
        found[_MAPPING + ".bias"] = tensors.get(
            "embedding.projection.bias", torch.zeros(model.encoder.hidden_size)
        )
        for ours, theirs in _OUTSIDE:
            for kind in _KINDS:
                found[f"{theirs}.{kind}"] = tensors[f"{ours}.{kind}"]
        assert isinstance(model.encoder, Transformer), "refused before"
        for index, mine in enumerate(_groups(model.encoder)):
            layer = f"{_GROUP}{index}.albert_layers.0."
            for kind in _KINDS:
                qkv = tensors[f"{mine}.attention.qkv.{kind}"].chunk(3)
                for theirs, part in zip(_ATTENTION, qkv, strict=True):
                    found[f"{layer}{theirs}.{kind}"] = part
                for ours, theirs in _INSIDE:
                    found[f"{layer}{theirs}.{kind}"] = tensors[f"{mine}.{ours}.{kind}"]
        bias = tensors.get("mlm_bias.bias")
        found[_BIASES[0]] = torch.zeros(len(words)) if bias is None else bias
        if "mlm_unembed.weight" in tensors:
            found[_HEAD + "decoder.weight"] = tensors["mlm_unembed.weight"]
            found[_BIASES[1]] = found[_BIASES[0]]
        return found

    def recognises(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        """Groups of layers, with or without the prefix `albert.`."""
        return f"{_GROUP}0.albert_layers.0.attention.query.weight" in map(_prefixed, names)

    def blocks(self, config: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        """Sizes from the config, what is there from the names."""
        activations = {theirs: ours for ours, theirs in _ACTIVATIONS.items()}
        activation = config.get("hidden_act", "gelu_new")
        if activation not in activations:
            raise UserError(f'config.json: hidden_act "{activation}" is not supported.')
        if config.get("inner_group_num", 1) != 1:
            raise UserError(
                f"config.json: inner_group_num = {config['inner_group_num']} is not supported; "
                "groups of one layer are."
            )
        embedding = {
            "of": ["word", "position", "segment"],
            "size": config["embedding_size"],
            "positions": config["max_position_embeddings"],
            "segments": config.get("type_vocab_size", 2),
        }
        return {
            "model": {
                "dropout": float(config.get("hidden_dropout_prob", 0.0)),
                "attention_dropout": float(config.get("attention_probs_dropout_prob", 0.0)),
                "embedding": embedding,
                "encoder": {
                    "type": "transformer",
                    "layers": config["num_hidden_layers"],
                    "hidden_size": config["hidden_size"],
                    "heads": config["num_attention_heads"],
                    "feed_forward_size": config["intermediate_size"],
                    "activation": activations[activation],
                    "norm_epsilon": float(config.get("layer_norm_eps", 1e-12)),
                    "shared_groups": config.get("num_hidden_groups", 1),
                },
                "init": {"std": float(config.get("initializer_range", 0.02))},
            },
            "objective": {
                "type": "mlm",
                "masking": {"unit": "token"},
                "head": {"tied": config.get("tie_word_embeddings", True)},
            },
        }

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        """The inverse of `to_huggingface`; a missing head stays missing."""
        theirs = {_prefixed(name): tensor for name, tensor in tensors.items()}
        found = {ours: theirs[name] for ours, name in _TABLES}
        segments = theirs[_SEGMENTS]
        found["embedding.segment.weight"] = torch.cat((torch.zeros(1, segments.shape[1]), segments))
        found.update(_projection(theirs, config))
        groups = config.get("num_hidden_groups", 1)
        _refuse_more_layers(theirs, groups)
        for index in range(groups):
            mine, layer = f"encoder_group_{index:02}.", f"{_GROUP}{index}.albert_layers.0."
            for kind in _KINDS:
                parts = [theirs[f"{layer}{part}.{kind}"] for part in _ATTENTION]
                found[f"{mine}attention.qkv.{kind}"] = torch.cat(parts)
                for ours, name in _INSIDE:
                    found[f"{mine}{ours}.{kind}"] = theirs[f"{layer}{name}.{kind}"]
        for ours, name in _OUTSIDE:
            for kind in _KINDS:
                # Only the head may be missing.
                if f"{name}.{kind}" in theirs or not name.startswith(_HEAD):
                    found[f"{ours}.{kind}"] = theirs[f"{name}.{kind}"]
        tied = config.get("tie_word_embeddings", True)
        # The two biases are one where the head is tied; else transformers reads the decoder's.
        for name in _BIASES if tied else reversed(_BIASES):
            if name in theirs:
                found["mlm_bias.bias"] = theirs[name]
                break
        if not tied and _HEAD + "decoder.weight" in theirs:
            found["mlm_unembed.weight"] = theirs[_HEAD + "decoder.weight"]
        return found


def _groups(encoder: Transformer) -> list[str]:
    """The keys of the weights of every group of layers, in order; a layer by itself is one."""
    keys = [encoder.group(index) or f"encoder_{index:02}" for index in range(encoder.layers)]
    return list(dict.fromkeys(keys))


def _projection(theirs: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The mapping to the encoder's width; none where the widths are one and it does nothing."""
    weight, bias = (theirs[f"{_MAPPING}.{kind}"] for kind in _KINDS)
    width = config["hidden_size"]
    if config["embedding_size"] != width:
        return {"embedding.projection.weight": weight, "embedding.projection.bias": bias}
    if weight.shape != (width, width) or not torch.equal(weight, torch.eye(width)) or bias.any():
        raise UserError(
            f"config.json: embedding_size = {width} is the hidden_size too; a mapping between "
            "the two that is more than the identity is not supported."
        )
    return {}


def _refuse_more_layers(theirs: Tensors, groups: int) -> None:
    """Raise UserError where the weights have groups, or layers in one, that the config has not."""
    for name in sorted(theirs):
        if name.startswith(f"{_GROUP}{groups}."):
            raise UserError(
                f"config.json: num_hidden_groups = {groups}, but the weights have {name}."
            )
        if name.startswith(_GROUP) and ".albert_layers.1." in name:
            raise UserError(
                f"config.json: inner_group_num is not more than 1, but the weights have {name}."
            )


def _prefixed(name: str) -> str:
    """A bare `AlbertModel` has its tensors without `albert.`."""
    whole = ("albert.", _HEAD, "sop_classifier.")
    return name if name.startswith(whole) else f"albert.{name}"
