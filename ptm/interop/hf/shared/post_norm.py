"""What BERT, RoBERTa and ERNIE share: which models they can hold, and the keys of their configs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives import Objective
from ptm.components.objectives.masked_tokens import MlmHead
from ptm.errors import UserError
from ptm.interop.hf.shared.naming import unsaid
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

ACTIVATIONS: Mapping[str, str] = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_new",
    "relu": "relu",
    "silu": "silu",
    "tanh": "tanh",
}
"""Ours to transformers'."""

# Options that a config of these families says something of.
_SAID = ("activation", "norm_epsilon")
_SAID_OF_EMBEDDING = ("of", "size", "positions")


def refusal(
    model: ModelBlock, objective: Objective, *, parts: Collection[str], said: Collection[str] = ()
) -> str | None:
    """Why it is no post-norm encoder over `parts` with a head of masked tokens; None where it is.

    `said`: keys of `model.embedding` that the family's config can express.
    """
    encoder, embedding = model.encoder, model.embedding
    if not isinstance(encoder, Transformer) or encoder.norm_position != "post":
        return "its encoder is not a post-norm transformer"
    if not embedding.layer_norm or not embedding.learns_positions:
        return "its embedding has no layer norm or no learnt positions"
    if embedding.size not in (None, encoder.hidden_size):
        return "its embedding is narrower than the encoder"
    for name in embedding.of:
        if name not in parts:
            return f"its embedding has the part {name}"
    found = unsaid(embedding, "model.embedding", said=(*_SAID_OF_EMBEDDING, *said)) or unsaid(
        encoder, "model.encoder", said=_SAID
    )
    if found is not None:
        return found
    if not isinstance(getattr(objective, "head", None), MlmHead):
        return f"it was trained with objective {objective.type}"
    return None


def has_pair_head(model: ModelBlock, objective: Objective) -> bool:
    """Whether the objective tells pairs of texts apart (NSP)."""
    return any(step.name == "pair_classifier" for step in objective.steps(model.shape(1)))


def masked_head(objective: Objective) -> MlmHead:
    """The head of an objective that was not refused."""
    head = getattr(objective, "head", None)
    assert isinstance(head, MlmHead), "refused before"
    return head


def plain_encoder(model: ModelBlock) -> Transformer:
    """The encoder of a model that was not refused."""
    assert isinstance(model.encoder, Transformer), "refused before"
    return model.encoder


def config_of(model: ModelBlock, objective: Objective, vocabulary: Vocabulary) -> dict[str, Any]:
    """The keys that BertConfig, RobertaConfig and ErnieConfig share."""
    encoder, shape = plain_encoder(model), model.shape(vocabulary.size)
    return {
        "vocab_size": vocabulary.size,
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


def our_activation(config: Mapping[str, Any], key: str) -> str:
    """The activation that a config names. Raises UserError for one that is not known here."""
    named = config.get(key, "gelu")
    for ours, theirs in ACTIVATIONS.items():
        if theirs == named:
            return ours
    raise UserError(f'config.json: {key} "{named}" is not supported.')


def blocks_of(config: Mapping[str, Any], *, objective: str = "mlm") -> dict[str, Any]:
    """A recipe's blocks from the shared keys. Raises UserError for what is not supported."""
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise UserError("config.json: only absolute positions are supported here.")
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise UserError("config.json: an encoder that is used as a decoder is not supported.")
    head = {"tied": config.get("tie_word_embeddings", True)}
    return {
        "model": {
            "dropout": float(config.get("hidden_dropout_prob", 0.1)),
            "attention_dropout": float(config.get("attention_probs_dropout_prob", 0.1)),
            "embedding": {
                "of": ["word", "position", "segment"],
                "positions": config["max_position_embeddings"],
                "segments": config.get("type_vocab_size", 2),
            },
            "encoder": {
                "type": "transformer",
                "layers": config["num_hidden_layers"],
                "hidden_size": config["hidden_size"],
                "heads": config["num_attention_heads"],
                "feed_forward_size": config["intermediate_size"],
                "activation": our_activation(config, "hidden_act"),
                "norm_epsilon": float(config.get("layer_norm_eps", 1e-12)),
            },
            "init": {"std": float(config.get("initializer_range", 0.02))},
        },
        "objective": {"type": objective, "masking": {"unit": "token"}, "head": head},
    }
