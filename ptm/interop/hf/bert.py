"""BERT as transformers has it: also RoBERTa-style, whole-word and span models over a vocab.txt.

What the pretraining corpora of Chinese models call roberta, wwm or span differ in how they were
trained, not in their architecture: post-norm layers, word, position and segment embeddings.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from ptm.embeddings.segment import SEGMENTS
from ptm.encoders.transformer import Transformer
from ptm.errors import UserError
from ptm.interop.hf.contract import Family, Tensors
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
_EMBEDDING = "bert.embeddings."
_LAYER = "bert.encoder.layer."
_HEAD = "cls.predictions."

# (ours, transformers'), without `.weight` and `.bias`.
_OUTSIDE = (
    ("embedding.norm", _EMBEDDING + "LayerNorm"),
    ("mlm_transform.dense", _HEAD + "transform.dense"),
    ("mlm_transform.norm", _HEAD + "transform.LayerNorm"),
)
_INSIDE = (
    ("attention.output", "attention.output.dense"),
    ("attention_norm", "attention.output.LayerNorm"),
    ("feed_forward.up", "intermediate.dense"),
    ("feed_forward.down", "output.dense"),
    ("feed_forward_norm", "output.LayerNorm"),
)
_ATTENTION = tuple(f"attention.self.{part}" for part in ("query", "key", "value"))
_KINDS = ("weight", "bias")


class Bert(Family):
    """`BertForMaskedLM`."""

    name = "bert"

    def refusal(self, model: ModelBlock, objective: Objective) -> str | None:
        """BERT is post-norm, normalises its embedding and learns positions."""
        encoder, embedding = model.encoder, model.embedding
        if not isinstance(encoder, Transformer) or encoder.norm_position != "post":
            return "its encoder is not a post-norm transformer"
        if not embedding.layer_norm or not embedding.learns_positions:
            return "its embedding has no layer norm or no learnt positions"
        if embedding.size not in (None, encoder.hidden_size):
            return "its embedding is narrower than the encoder"
        if not isinstance(objective, Mlm):
            return f"it was trained with objective {objective.type}"
        return None

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        """`BertConfig`."""
        encoder = model.encoder
        assert isinstance(encoder, Transformer), "refused before"
        assert isinstance(objective, Mlm), "refused before"
        shape = model.shape(vocabulary.size)
        return {
            "architectures": ["BertForMaskedLM"],
            "model_type": "bert",
            "vocab_size": vocabulary.size,
            "hidden_size": encoder.hidden_size,
            "num_hidden_layers": encoder.layers,
            "num_attention_heads": encoder.heads,
            "intermediate_size": encoder.feed_forward_size,
            "hidden_act": _ACTIVATIONS[encoder.activation],
            "hidden_dropout_prob": shape.dropout,
            "attention_probs_dropout_prob": shape.attention_dropout,
            "max_position_embeddings": shape.positions,
            "type_vocab_size": SEGMENTS - 1,
            "initializer_range": model.init.std,
            "layer_norm_eps": encoder.norm_epsilon,
            "pad_token_id": vocabulary.special_id("pad"),
            "tie_word_embeddings": objective.head.tied,
            "torch_dtype": "float32",
        }

    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        """Query, key and value are apart there; there is no segment row for padding."""
        words = tensors["word_embedding.weight"]
        found = {
            _EMBEDDING + "word_embeddings.weight": words,
            _EMBEDDING + "position_embeddings.weight": tensors["embedding.position.weight"],
        }
        segments = tensors.get("embedding.segment.weight")
        found[_EMBEDDING + "token_type_embeddings.weight"] = (
            torch.zeros(SEGMENTS - 1, words.shape[1]) if segments is None else segments[1:]
        )
        for ours, theirs in _OUTSIDE:
            for kind in _KINDS:
                found[f"{theirs}.{kind}"] = tensors[f"{ours}.{kind}"]
        assert isinstance(model.encoder, Transformer), "refused before"
        for index in range(model.encoder.layers):
            mine, layer = f"encoder_{index:02}.", f"{_LAYER}{index}."
            for kind in _KINDS:
                qkv = tensors[f"{mine}attention.qkv.{kind}"].chunk(3)
                for theirs, part in zip(_ATTENTION, qkv, strict=True):
                    found[f"{layer}{theirs}.{kind}"] = part
                for ours, theirs in _INSIDE:
                    found[f"{layer}{theirs}.{kind}"] = tensors[f"{mine}{ours}.{kind}"]
        bias = tensors.get("mlm_bias.bias")
        found[_HEAD + "bias"] = torch.zeros(words.shape[0]) if bias is None else bias
        if "mlm_unembed.weight" in tensors:
            found[_HEAD + "decoder.weight"] = tensors["mlm_unembed.weight"]
            found[_HEAD + "decoder.bias"] = found[_HEAD + "bias"]
        return found

    def recognises(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        """BERT's embeddings and BERT's layers, with or without the prefix `bert.`."""
        # A bare RobertaModel has the same names, but counts positions from its padding id on.
        if config.get("pad_token_id", 0) != 0 and "roberta" in str(config.get("model_type")):
            return False
        plain = {name.removeprefix("bert.") for name in names}
        return {
            "embeddings.token_type_embeddings.weight",
            "encoder.layer.0.attention.self.query.weight",
            "encoder.layer.0.attention.output.LayerNorm.weight",
        } <= {_modern(name) for name in plain}

    def blocks(self, config: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        """Sizes from the config, what is there from the names."""
        activations = {theirs: ours for ours, theirs in _ACTIVATIONS.items()}
        activation = config.get("hidden_act", "gelu")
        if activation not in activations:
            raise UserError(f'config.json: hidden_act "{activation}" is not supported.')
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise UserError("config.json: only absolute positions are supported for BERT.")
        if config.get("is_decoder") or config.get("add_cross_attention"):
            raise UserError("config.json: a BERT that is a decoder is not supported.")
        tied = config.get("tie_word_embeddings", True)
        return {
            "model": {
                "dropout": float(config.get("hidden_dropout_prob", 0.1)),
                "attention_dropout": float(config.get("attention_probs_dropout_prob", 0.1)),
                "embedding": {
                    "of": ["word", "position", "segment"],
                    "positions": config["max_position_embeddings"],
                },
                "encoder": {
                    "type": "transformer",
                    "layers": config["num_hidden_layers"],
                    "hidden_size": config["hidden_size"],
                    "heads": config["num_attention_heads"],
                    "feed_forward_size": config["intermediate_size"],
                    "activation": activations[activation],
                    "norm_epsilon": float(config.get("layer_norm_eps", 1e-12)),
                },
                "init": {"std": float(config.get("initializer_range", 0.02))},
            },
            "objective": {"type": "mlm", "masking": {"unit": "token"}, "head": {"tied": tied}},
        }

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        """The inverse of `to_huggingface`; a missing head stays missing."""
        theirs = {_prefixed(_modern(name)): tensor for name, tensor in tensors.items()}
        words = theirs[_EMBEDDING + "word_embeddings.weight"]
        if config.get("vocab_size", len(words)) != len(words):
            raise UserError(
                f"config.json: vocab_size = {config['vocab_size']}, but the weights have "
                f"{len(words)} words."
            )
        segments = theirs[_EMBEDDING + "token_type_embeddings.weight"]
        padding = torch.zeros(1, segments.shape[1])
        spare = torch.zeros(max(0, SEGMENTS - 1 - len(segments)), segments.shape[1])
        found = {
            "word_embedding.weight": words,
            "embedding.position.weight": theirs[_EMBEDDING + "position_embeddings.weight"],
            "embedding.segment.weight": torch.cat((padding, segments[: SEGMENTS - 1], spare)),
        }
        layers = config["num_hidden_layers"]
        beyond = sorted(name for name in theirs if name.startswith(f"{_LAYER}{layers}."))
        if beyond:
            raise UserError(
                f"config.json: num_hidden_layers = {layers}, but the weights have {beyond[0]}."
            )
        for index in range(layers):
            mine, layer = f"encoder_{index:02}.", f"{_LAYER}{index}."
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
        biases = (_HEAD + "bias", _HEAD + "decoder.bias")
        for name in biases if tied else reversed(biases):
            if name in theirs:
                found["mlm_bias.bias"] = theirs[name]
                break
        if not tied and _HEAD + "decoder.weight" in theirs:
            found["mlm_unembed.weight"] = theirs[_HEAD + "decoder.weight"]
        return found


def _modern(name: str) -> str:
    """Names of checkpoints converted from TensorFlow say gamma and beta."""
    name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
    return re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)


def _prefixed(name: str) -> str:
    """A bare `BertModel` has its tensors without `bert.`."""
    return name if name.startswith(("bert.", "cls.")) else f"bert.{name}"
