"""What BERT, RoBERTa and ERNIE share: which models they can hold, and config keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives import Objective
from ptm.components.objectives.masked_tokens import MlmHead
from ptm.errors import UserError
from ptm.interop.hf.shared.naming import unsupported_option
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

# Options that a config of these families can express.
_EXPRESSIBLE = ("activation", "norm_epsilon")
_EXPRESSIBLE_EMBEDDING = ("parts", "size", "rows", "positions")


def unsupported_reason(
    model: ModelBlock,
    objective: Objective,
    *,
    parts: Collection[str],
    expressible: Collection[str] = (),
) -> str | None:
    """Why a model is not a post-norm encoder with a masked-token head; None if it is.

    `parts`: parts that the embedding may have. `expressible`: options of `model.embedding` that the
    family's config can express.
    """
    encoder, embedding = model.encoder, model.embedding
    if not isinstance(encoder, Transformer) or encoder.norm_position != "post":
        return "the encoder is not a post-norm transformer"
    if not embedding.layer_norm or not embedding.has_position_table:
        return "the embedding has no layer norm or no learned positions"
    if embedding.size not in (None, encoder.hidden_size):
        return "model.embedding.size is not model.encoder.hidden_size"
    for name in embedding.parts:
        if name not in parts:
            return f"model.embedding.parts includes {name}"
    found = unsupported_option(
        embedding, "model.embedding", expressible=(*_EXPRESSIBLE_EMBEDDING, *expressible)
    ) or unsupported_option(encoder, "model.encoder", expressible=_EXPRESSIBLE)
    if found is not None:
        return found
    if not isinstance(getattr(objective, "head", None), MlmHead):
        return f"objective.type = {objective.type}"
    return None


def has_pair_head(model: ModelBlock, objective: Objective) -> bool:
    """Whether the objective classifies sentence pairs (next sentence, sentence order)."""
    return any(step.name == "pair_classifier" for step in objective.operations(model.shape(1)))


def masked_head(objective: Objective) -> MlmHead:
    """The head of an objective that `unsupported_reason` accepted."""
    head = getattr(objective, "head", None)
    assert isinstance(head, MlmHead), "the objective was checked before"
    return head


def plain_encoder(model: ModelBlock) -> Transformer:
    """The encoder of a model that `unsupported_reason` accepted."""
    assert isinstance(model.encoder, Transformer), "the encoder was checked before"
    return model.encoder


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


def activation_from_config(config: Mapping[str, Any], key: str) -> str:
    """ptm's name of the config's activation under `key`. Raises UserError for an unknown one."""
    named = config.get(key, "gelu")
    for ours, theirs in ACTIVATIONS.items():
        if theirs == named:
            return ours
    known = ", ".join(ACTIVATIONS.values())
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
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise UserError(
            "config.json: is_decoder and add_cross_attention are not supported. Supported: "
            "encoders."
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
