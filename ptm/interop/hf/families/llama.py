"""LLaMA in transformers (Touvron et al. 2023, arXiv:2302.13971), with grouped-query attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.interop.hf.base import Family, Tensors, plain_encoder
from ptm.interop.hf.model_config import ModelConfig
from ptm.interop.hf.shared import causal
from ptm.interop.hf.shared.naming import check_layer_count, check_table_sizes
from ptm.interop.hf.shared.post_norm import ACTIVATIONS, activation_from_config
from ptm.interop.hf.shared.rotary import rotary_theta
from ptm.interop.weight_checks import concatenated
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary
from ptm.validation import first_problem

if TYPE_CHECKING:
    from torch import Tensor

_LAYER = "model.layers."
_OUTPUT, _OUR_OUTPUT = "lm_head.weight", "lm_unembed.weight"
_OUTSIDE = {
    "word_embedding.weight": "model.embed_tokens.weight",
    "encoder_norm.weight": "model.norm.weight",
}
_NORMS = {"attention_norm": "input_layernorm", "feed_forward_norm": "post_attention_layernorm"}
_LINEAR = {"attention.output": "self_attn.o_proj", "feed_forward.down": "mlp.down_proj"}
_ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_GATED = ("mlp.gate_proj", "mlp.up_proj")
_BIASES = ("attention_bias", "mlp_bias")

_FIXED = {"norm_position": "pre", "norm": "rms", "feed_forward": "gated"}


class Llama(Family):
    """`LlamaForCausalLM`."""

    name = "llama"
    base_prefix = "model."
    model_types = ("llama",)
    head_pattern = r"score\.|classifier\.|qa_outputs\."
    fixed_keys: Mapping[str, Any] = {"rope_interleaved": False}
    # The length of sequences in training, and slices of matrices that give the same products.
    keys_without_effect = ("max_sequence_length", "pretraining_tp", "is_llama_config")
    signature_tensors = (
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.mlp.gate_proj.weight",
    )
    causal = True
    buffer_pattern = r"rotary_emb\.inv_freq$"

    def structure_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        reason = causal.structure_reason(model, objective)
        if reason is None and plain_encoder(model).rotary is None:
            return "model.encoder.rotary is not set"
        return reason

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        encoder, shape = plain_encoder(model), model.shape(vocabulary.size)
        assert encoder.rotary is not None, "rotary was checked before"
        # Keys that all versions of transformers read.
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            **causal.shared_config(model, objective, vocabulary),
            "hidden_size": encoder.hidden_size,
            "intermediate_size": encoder.feed_forward_size,
            "num_hidden_layers": encoder.layers,
            "num_attention_heads": encoder.heads,
            "num_key_value_heads": encoder.head_shape.key_value_heads,
            "head_dim": encoder.head_shape.head_size,
            "hidden_act": ACTIVATIONS[encoder.activation],
            "max_position_embeddings": shape.positions,
            "rms_norm_eps": encoder.norm_epsilon,
            "rope_theta": encoder.rotary.theta,
            "rope_scaling": None,
            **dict.fromkeys(_BIASES, encoder.bias),
            "attention_dropout": shape.attention_dropout,
        }

    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        import torch

        encoder = plain_encoder(model)
        found = {theirs: tensors[ours] for ours, theirs in _same_names(encoder)}
        for ours, names, rows in _fused_names(encoder):
            found |= zip(names, torch.split(tensors[ours], rows), strict=True)
        if _OUR_OUTPUT in tensors:
            found[_OUTPUT] = tensors[_OUR_OUTPUT]
        return found

    def qualified_name(self, name: str) -> str:
        return name if name.startswith(("model.", "lm_head.", "score.")) else f"model.{name}"

    def to_recipe(self, config: ModelConfig, tensors: Tensors) -> dict[str, Any]:
        return {
            "model": {
                "dropout": 0.0,
                "attention_dropout": float(config.get("attention_dropout") or 0.0),
                "embedding": {
                    "parts": ["word"],
                    "layer_norm": False,
                    "positions": config["max_position_embeddings"],
                },
                "encoder": _encoder(config),
                "init": {"std": float(config.get("initializer_range", 0.02))},
            },
            "objective": causal.objective_block(tied=config.get("tie_word_embeddings", False)),
        }

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        encoder = _validated(_encoder(config))
        check_layer_count(tensors, _LAYER, encoder.layers)
        check_table_sizes(tensors, config, {"vocab_size": _OUTSIDE["word_embedding.weight"]})
        found = {ours: tensors[name] for ours, name in _same_names(encoder)}
        for ours, names, rows in _fused_names(encoder):
            found[ours] = concatenated(tensors, names, width=encoder.hidden_size, rows=rows)
        if not config.get("tie_word_embeddings", False) and _OUTPUT in tensors:
            found[_OUR_OUTPUT] = tensors[_OUTPUT]
        return found


def _kinds(encoder: Transformer) -> tuple[str, ...]:
    return ("weight", "bias") if encoder.bias else ("weight",)


def _same_names(encoder: Transformer) -> Iterator[tuple[str, str]]:
    """Canonical and transformers' name of every tensor that is only renamed."""
    yield from _OUTSIDE.items()
    for index in range(encoder.layers):
        ours, theirs = f"encoder_{index:02}.", f"{_LAYER}{index}."
        for mine, name in _NORMS.items():
            yield f"{ours}{mine}.weight", f"{theirs}{name}.weight"
        for mine, name in _LINEAR.items():
            for kind in _kinds(encoder):
                yield f"{ours}{mine}.{kind}", f"{theirs}{name}.{kind}"


def _fused_names(encoder: Transformer) -> Iterator[tuple[str, list[str], list[int]]]:
    """Canonical name of every fused matrix, transformers' names of its parts, rows of each part."""
    shape, wide = encoder.head_shape, encoder.feed_forward_size
    parts = (
        ("attention.qkv", _ATTENTION, [shape.query_width, shape.key_width, shape.key_width]),
        ("feed_forward.gate_up", _GATED, [wide, wide]),
    )
    for index in range(encoder.layers):
        for mine, names, rows in parts:
            for kind in _kinds(encoder):
                there = [f"{_LAYER}{index}.{name}.{kind}" for name in names]
                yield f"encoder_{index:02}.{mine}.{kind}", there, rows


def _encoder(config: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's `model.encoder`; head options at their defaults are left out.

    Raises UserError for an unsupported value.
    """
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    biases = {key: bool(config.get(key, False)) for key in _BIASES}
    if len(set(biases.values())) > 1:
        shown = ", ".join(f"{key} = {str(value).lower()}" for key, value in biases.items())
        raise UserError(
            f"config.json: {shown}, which is not supported. Supported: all true or all false."
        )
    encoder = {
        "type": "transformer",
        "visibility": "causal",
        "layers": config["num_hidden_layers"],
        "hidden_size": hidden,
        "heads": heads,
        "feed_forward_size": config["intermediate_size"],
        **_FIXED,
        "activation": activation_from_config(config, "hidden_act", usual="silu"),
        "norm_epsilon": float(config.get("rms_norm_eps", 1e-6)),
        "bias": biases["mlp_bias"],
        "rotary": {
            "theta": rotary_theta(config, key="rope_theta", usual=10_000.0),
            "local_theta": None,
        },
    }
    groups, size = config.get("num_key_value_heads"), config.get("head_dim")
    if groups not in (None, heads):
        encoder["key_value_heads"] = groups
    if size is not None and size * heads != hidden:
        encoder["head_size"] = size
    return encoder


def _validated(encoder: Mapping[str, Any]) -> Transformer:
    try:
        return Transformer.model_validate(encoder)
    except ValidationError as error:
        raise UserError(f"config.json: {first_problem(error)}.") from error
