"""GPT-2 in transformers (Radford et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptm.components.objectives import Objective
from ptm.interop.hf.base import Family, Tensors, plain_encoder
from ptm.interop.hf.model_config import ModelConfig
from ptm.interop.hf.shared import causal, gpt_naming
from ptm.interop.hf.shared.post_norm import ACTIVATIONS, activation_from_config
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

_OUTSIDE = {
    gpt_naming.WORDS: "transformer.wte.weight",
    gpt_naming.POSITIONS: "transformer.wpe.weight",
    "encoder_norm.weight": "transformer.ln_f.weight",
    "encoder_norm.bias": "transformer.ln_f.bias",
}
_FIXED = {"norm_position": "pre", "norm": "layer", "feed_forward": "dense", "bias": True}


class Gpt2(Family):
    """`GPT2LMHeadModel`."""

    name = "gpt2"
    base_prefix = gpt_naming.PREFIX
    model_types = ("gpt2",)
    head_pattern = r"score\.|multiple_choice_head\.|classifier\.|qa_outputs\."
    aliases = gpt_naming.ALIASES
    fixed_keys: Mapping[str, Any] = {
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    }
    keys_without_effect: tuple[str, ...] = (
        "n_ctx",
        "embd_pdrop",
        "reorder_and_upcast_attn",
        "hidden_dropout",
    )
    signature_tensors = (
        "transformer.wte.weight",
        "transformer.h.0.attn.c_attn.weight",
        "transformer.ln_f.weight",
    )
    causal = True
    buffer_pattern = gpt_naming.BUFFERS

    def structure_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        return causal.structure_reason(model, objective)

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        encoder, shape = plain_encoder(model), model.shape(vocabulary.size)
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            **causal.shared_config(model, objective, vocabulary),
            "n_embd": encoder.hidden_size,
            "n_layer": encoder.layers,
            "n_head": encoder.heads,
            "n_inner": encoder.feed_forward_size,
            "n_positions": shape.positions,
            "activation_function": ACTIVATIONS[encoder.activation],
            "layer_norm_epsilon": encoder.norm_epsilon,
            "scale_attn_weights": encoder.attention_scale,
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
                    "feed_forward_size": config.get("n_inner") or 4 * hidden,
                    "activation": activation_from_config(
                        config, "activation_function", usual="gelu_new"
                    ),
                    **_FIXED,
                    "norm_epsilon": float(config.get("layer_norm_epsilon", 1e-5)),
                    "attention_scale": config.get("scale_attn_weights", True),
                },
                "init": {
                    "std": float(config.get("initializer_range", 0.02)),
                    "residual_scaling": True,
                },
            },
            "objective": causal.objective_block(tied=config.get("tie_word_embeddings", True)),
        }

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        return gpt_naming.from_hf_names(tensors, _OUTSIDE, config)
