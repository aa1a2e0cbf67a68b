"""GPT in transformers (Radford et al. 2018): post-norm, no norm of the embedding, no final norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.interop.hf.base import Family, Tensors, plain_encoder
from ptm.interop.hf.model_config import ModelConfig
from ptm.interop.hf.shared import causal, gpt_naming
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

_OUTSIDE = {
    gpt_naming.WORDS: "transformer.tokens_embed.weight",
    gpt_naming.POSITIONS: "transformer.positions_embed.weight",
}
_FIXED = {"norm_position": "post", "norm": "layer", "feed_forward": "dense", "bias": True}
_TYPE = "openai-gpt"

# Its "gelu" is the tanh approximation.
_ACTIVATIONS = {"gelu_tanh": "gelu", "relu": "relu", "silu": "silu"}
_FEED_FORWARD_FACTOR = 4
"""Feed-forward size per hidden size, fixed in transformers."""


class OpenAIGpt(Family):
    """`OpenAIGPTLMHeadModel`."""

    name = "openai_gpt"
    base_prefix = gpt_naming.PREFIX
    model_types = (_TYPE,)
    head_pattern = r"score\.|multiple_choice_head\."
    aliases = gpt_naming.ALIASES
    keys_without_effect = ("n_ctx", "embd_pdrop", "n_special", "predict_special_tokens")
    signature_tensors = ("transformer.tokens_embed.weight", "transformer.h.0.attn.c_attn.weight")
    causal = True
    buffer_pattern = gpt_naming.BUFFERS

    def structure_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        reason = causal.structure_reason(model, objective)
        if reason is None and model.encoder.activation not in _ACTIVATIONS:
            return f"model.encoder.activation = {model.encoder.activation}"
        return reason

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        encoder, shape = plain_encoder(model), model.shape(vocabulary.size)
        return {
            "architectures": ["OpenAIGPTLMHeadModel"],
            "model_type": _TYPE,
            **causal.shared_config(model, objective, vocabulary),
            "n_embd": encoder.hidden_size,
            "n_layer": encoder.layers,
            "n_head": encoder.heads,
            "n_positions": shape.positions,
            "afn": _ACTIVATIONS[encoder.activation],
            "layer_norm_epsilon": encoder.norm_epsilon,
            "embd_pdrop": shape.dropout,
            "resid_pdrop": shape.dropout,
            "attn_pdrop": shape.attention_dropout,
        }

    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        return gpt_naming.to_hf_names(tensors, _OUTSIDE, layers=plain_encoder(model).layers)

    def qualified_name(self, name: str) -> str:
        return gpt_naming.qualified_name(name)

    def to_recipe(self, config: ModelConfig, tensors: Tensors) -> dict[str, Any]:
        hidden = config["n_embd"]
        return {
            "model": {
                "dropout": float(config.get("resid_pdrop", 0.1)),
                "attention_dropout": float(config.get("attn_pdrop", 0.1)),
                "embedding": {
                    "parts": ["word", "position"],
                    "layer_norm": False,
                    "positions": config["n_positions"],
                },
                "encoder": {
                    "type": "transformer",
                    "visibility": "causal",
                    "layers": config["n_layer"],
                    "hidden_size": hidden,
                    "heads": config["n_head"],
                    "feed_forward_size": _FEED_FORWARD_FACTOR * hidden,
                    "activation": _activation(config),
                    **_FIXED,
                    "norm_epsilon": float(config.get("layer_norm_epsilon", 1e-5)),
                },
                "init": {"std": float(config.get("initializer_range", 0.02))},
            },
            "objective": causal.objective_block(tied=config.get("tie_word_embeddings", True)),
        }

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        return gpt_naming.from_hf_names(tensors, _OUTSIDE, config)


def _activation(config: Mapping[str, Any]) -> str:
    named = config.get("afn", "gelu")
    names = {theirs: ours for ours, theirs in _ACTIVATIONS.items()} | {"swish": "silu"}
    if named in names:
        return names[named]
    known = ", ".join(names)
    raise UserError(f'config.json: afn "{named}" is not supported. Supported: {known}.')
