"""What BERT, RoBERTa and ERNIE share: which models they can hold, and config keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives import Objective
from ptm.components.objectives.masked_tokens import MlmHead
from ptm.errors import UserError
from ptm.interop.effective_options import EMBEDDINGS, HEAD, Options, head_modules, ordered
from ptm.interop.hf.base import plain_encoder
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

ACTIVATIONS: Mapping[str, str] = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_new",
    "relu": "relu",
    "silu": "silu",
    "tanh": "tanh",
}
"""ptm's names of activations to transformers'."""
_SAME_ACTIVATIONS: Mapping[str, str] = {
    "gelu_python": "gelu",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "swish": "silu",
}
"""Further names of transformers for the same functions."""

NO_DECODER: Mapping[str, Any] = {"is_decoder": False, "add_cross_attention": False}
"""Keys of the config that would make the encoder a decoder."""


def structure_reason(model: ModelBlock, objective: Objective) -> str | None:
    """Why a model is not a transformer with a masked-token head; None if it is."""
    if not isinstance(model.encoder, Transformer):
        return f"model.encoder.type = {model.encoder.type}"
    if not isinstance(getattr(objective, "head", None), MlmHead):
        return f"objective.type = {objective.type}"
    return None


def with_bias(options: Options) -> Options:
    """The options of an export, which has an output bias: zeros if the model has none."""
    return {**options, f"{HEAD}.bias": True}


def with_zeros(options: Options) -> Options:
    """The options of an export, which also has a segment embedding: zeros if the model has none."""
    parts = f"{EMBEDDINGS[0]}.parts"
    return {**with_bias(options), parts: ordered({*options[parts], "segment"})}


def has_pair_head(model: ModelBlock, objective: Objective) -> bool:
    """Whether the objective classifies sentence pairs (next sentence, sentence order)."""
    return "pair_classifier" in head_modules(model, objective)


def masked_head(objective: Objective) -> MlmHead:
    """The head of an objective that `structure_reason` accepted."""
    head = getattr(objective, "head", None)
    assert isinstance(head, MlmHead), "the objective was checked before"
    return head


def config_of(model: ModelBlock, objective: Objective, vocabulary: Vocabulary) -> dict[str, Any]:
    """The config keys that BertConfig, RobertaConfig and ErnieConfig share."""
    encoder, shape = plain_encoder(model), model.shape(vocabulary.size)
    return {
        "vocab_size": shape.vocabulary_size,
        "hidden_size": encoder.hidden_size,
        "num_hidden_layers": encoder.layers,
        "num_attention_heads": encoder.heads,
        "intermediate_size": encoder.feed_forward_size,
        "hidden_act": ACTIVATIONS[encoder.activation],
        "hidden_dropout_prob": shape.dropout,
        "attention_probs_dropout_prob": shape.attention_dropout,
        "max_position_embeddings": shape.positions,
        "type_vocab_size": model.embedding.segments,
        "initializer_range": model.init.std,
        "layer_norm_eps": encoder.norm_epsilon,
        "pad_token_id": vocabulary.special_id("pad"),
        "tie_word_embeddings": masked_head(objective).tied,
        "torch_dtype": "float32",
    }


def activation_from_config(config: Mapping[str, Any], key: str, *, usual: str = "gelu") -> str:
    """ptm's name of the config's activation under `key`; `usual` if the key is absent.

    Raises UserError for an unknown one.
    """
    named = config.get(key, usual)
    names = {theirs: ours for ours, theirs in ACTIVATIONS.items()}
    names.update(_SAME_ACTIVATIONS)
    if named in names:
        return names[named]
    known = ", ".join(names)
    raise UserError(f'config.json: {key} "{named}" is not supported. Supported: {known}.')


def blocks_of(config: Mapping[str, Any], *, objective: str = "mlm") -> dict[str, Any]:
    """The recipe's `model` and `objective` blocks from the shared config keys.

    `objective`: the objective's type. Raises UserError for an unsupported value.
    """
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise UserError(
            f'config.json: position_embedding_type "{config["position_embedding_type"]}" is not '
            'supported. Supported: "absolute".'
        )
    head = {"tied": config.get("tie_word_embeddings", True)}
    return {
        "model": {
            "dropout": float(config.get("hidden_dropout_prob", 0.1)),
            "attention_dropout": float(config.get("attention_probs_dropout_prob", 0.1)),
            "embedding": {
                "parts": ["word", "position", "segment"],
                "positions": config["max_position_embeddings"],
                "segments": config.get("type_vocab_size", 2),
            },
            "encoder": {
                "type": "transformer",
                "layers": config["num_hidden_layers"],
                "hidden_size": config["hidden_size"],
                "heads": config["num_attention_heads"],
                "feed_forward_size": config["intermediate_size"],
                "activation": activation_from_config(config, "hidden_act"),
                "norm_epsilon": float(config.get("layer_norm_eps", 1e-12)),
            },
            "init": {"std": float(config.get("initializer_range", 0.02))},
        },
        "objective": {"type": objective, "masking": {"unit": "token"}, "head": head},
    }
