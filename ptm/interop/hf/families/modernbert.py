"""ModernBERT in transformers (Warner et al. 2024, arXiv:2412.13663)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives import Objective
from ptm.components.objectives.mlm import Mlm
from ptm.errors import UserError
from ptm.interop.hf.base import Family, Tensors
from ptm.interop.hf.model_config import ModelConfig
from ptm.interop.hf.shared import post_norm
from ptm.interop.hf.shared.naming import (
    check_layer_count,
    check_table_sizes,
)
from ptm.interop.hf.shared.post_norm import ACTIVATIONS, activation_from_config
from ptm.interop.hf.shared.rotary import rotary_theta
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

_LAYER = "model.layers."
_BIASES = ("attention_bias", "mlp_bias", "norm_bias", "classifier_bias")
_KINDS = ("weight", "bias")

_WORDS, _OUTPUT = "model.embeddings.tok_embeddings", "decoder"

# Canonical to transformers' module names, without `.weight` and `.bias`.
_OUTSIDE = {
    "word_embedding": _WORDS,
    "embedding.norm": "model.embeddings.norm",
    "encoder_norm": "model.final_norm",
}
_HEAD = {"mlm_transform.dense": "head.dense", "mlm_transform.norm": "head.norm"}
_INSIDE = {
    "attention_norm": "attn_norm",
    "attention.qkv": "attn.Wqkv",
    "attention.output": "attn.Wo",
    "feed_forward_norm": "mlp_norm",
    "feed_forward.gate_up": "mlp.Wi",
    "feed_forward.down": "mlp.Wo",
}

# Layers of one kind, the key of their rotary base, and its default.
_ROTARY = (
    ("full_attention", "global_rope_theta", 160_000.0),
    ("sliding_attention", "local_rope_theta", 10_000.0),
)
# Options that every ModernBERT has.
_FIXED = {"feed_forward": "gated", "norm_position": "pre", "first_norm": False, "norm": "layer"}


class ModernBert(Family):
    """`ModernBertForMaskedLM`."""

    name = "modernbert"
    base_prefix = "model."
    model_types = ("modernbert",)
    head_pattern = r"classifier\.|head\."
    # ModernBERT has rotary positions whatever position_embedding_type says, and one norm_eps.
    keys_without_effect = (
        *("position_embedding_type", "layer_norm_eps", "initializer_cutoff_factor"),
        *("embedding_dropout", "classifier_pooling", "deterministic_flash_attn"),
        *("reference_compile", "repad_logits_with_grad", "sparse_prediction"),
        "sparse_pred_ignore_index",
    )
    signature_tensors = ("model.layers.0.attn.Wqkv.weight", "model.layers.0.mlp.Wi.weight")

    def structure_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        if not isinstance(model.encoder, Transformer) or model.encoder.rotary is None:
            return "the encoder is not a transformer with rotary positions"
        return post_norm.structure_reason(model, objective)

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        encoder, shape = model.encoder, model.shape(vocabulary.size)
        assert isinstance(encoder, Transformer), "the encoder was checked before"
        assert encoder.rotary is not None, "rotary was checked before"
        assert isinstance(objective, Mlm), "the objective was checked before"
        pad, cls, sep = (vocabulary.special_id(role) for role in ("pad", "cls", "sep"))
        activation = ACTIVATIONS[encoder.activation]
        # Keys that all versions of transformers read.
        return {
            "architectures": ["ModernBertForMaskedLM"],
            "model_type": "modernbert",
            "vocab_size": shape.vocabulary_size,
            "hidden_size": encoder.hidden_size,
            "intermediate_size": encoder.feed_forward_size,
            "num_hidden_layers": encoder.layers,
            "num_attention_heads": encoder.heads,
            "hidden_activation": activation,
            "classifier_activation": activation,
            "max_position_embeddings": shape.positions,
            "initializer_range": model.init.std,
            "norm_eps": encoder.norm_epsilon,
            **dict.fromkeys(_BIASES, encoder.bias),
            "decoder_bias": objective.head.bias,
            "global_attn_every_n_layers": encoder.global_every or 1,
            "local_attention": encoder.window or 128,
            "global_rope_theta": encoder.rotary.theta,
            "local_rope_theta": encoder.rotary.local_theta or encoder.rotary.theta,
            "attention_dropout": shape.attention_dropout,
            "embedding_dropout": shape.dropout,
            "mlp_dropout": shape.dropout,
            "pad_token_id": pad,
            **dict.fromkeys(("bos_token_id", "cls_token_id"), cls),
            **dict.fromkeys(("eos_token_id", "sep_token_id"), sep),
            "tie_word_embeddings": objective.head.tied,
            "torch_dtype": "float32",
        }

    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        assert isinstance(model.encoder, Transformer), "the encoder was checked before"
        kinds = _KINDS if model.encoder.bias else _KINDS[:1]
        names = _names(_OUTSIDE, model.encoder.layers, kinds=kinds)
        found = {theirs: tensors[ours] for ours, theirs in names}
        head = _names(_HEAD, 0, kinds=kinds)
        found |= {theirs: tensors[ours] for ours, theirs in head if ours in tensors}
        for ours, kind in (("mlm_unembed.weight", "weight"), ("mlm_bias.bias", "bias")):
            if ours in tensors:
                found[f"{_OUTPUT}.{kind}"] = tensors[ours]
        return found

    def qualified_name(self, name: str) -> str:
        whole = ("model.", "head.", "decoder.", "classifier.")
        return name if name.startswith(whole) else f"model.{name}"

    def to_recipe(self, config: ModelConfig, tensors: Tensors) -> dict[str, Any]:
        theta, local_theta = (
            rotary_theta(config, key=key, usual=usual, layers=layers)
            for layers, key, usual in _ROTARY
        )
        every, window = _global_every(config), config.get("local_attention", 128)
        encoder = {
            "type": "transformer",
            "layers": config["num_hidden_layers"],
            "hidden_size": config["hidden_size"],
            "heads": config["num_attention_heads"],
            "feed_forward_size": config["intermediate_size"],
            **_FIXED,
            "activation": _activation(config),
            "norm_epsilon": float(config.get("norm_eps", 1e-5)),
            "bias": _has_biases(config),
            "rotary": {"theta": theta, "local_theta": None if every == 1 else local_theta},
        }
        if every != 1:
            encoder |= {"window": window, "global_every": every}
        return {
            "model": {
                "dropout": float(config.get("mlp_dropout", 0.0)),
                "attention_dropout": float(config.get("attention_dropout", 0.0)),
                "embedding": {"parts": ["word"], "positions": config["max_position_embeddings"]},
                "encoder": encoder,
                "init": {
                    "std": float(config.get("initializer_range", 0.02)),
                    "residual_scaling": True,
                },
            },
            "objective": {
                "type": "mlm",
                "masking": {"unit": "token"},
                "head": {
                    "tied": config.get("tie_word_embeddings", True),
                    "bias": config.get("decoder_bias", True),
                },
            },
        }

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        layers = config["num_hidden_layers"]
        check_layer_count(tensors, _LAYER, layers, key="num_hidden_layers")
        check_table_sizes(tensors, config, {"vocab_size": f"{_WORDS}.weight"})
        kinds = _KINDS if _has_biases(config) else _KINDS[:1]
        found = {ours: tensors[name] for ours, name in _names(_OUTSIDE, layers, kinds=kinds)}
        # A fine-tuned classifier has a head of the same names.
        fine_tuned = any(name.startswith("classifier.") for name in tensors)
        if not fine_tuned or f"{_OUTPUT}.bias" in tensors:
            head = _names(_HEAD, 0, kinds=kinds)
            found |= {ours: tensors[name] for ours, name in head if name in tensors}
        if not config.get("tie_word_embeddings", True) and f"{_OUTPUT}.weight" in tensors:
            found["mlm_unembed.weight"] = tensors[f"{_OUTPUT}.weight"]
        if config.get("decoder_bias", True) and f"{_OUTPUT}.bias" in tensors:
            found["mlm_bias.bias"] = tensors[f"{_OUTPUT}.bias"]
        return found


def _names(
    outside: Mapping[str, str], layers: int, *, kinds: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Canonical and transformers' names of the tensors of the modules `outside` and of the layers.

    `kinds`: weight, and bias in a model with biases.
    """
    modules = dict(outside)
    for index in range(layers):
        mine, theirs = f"encoder_{index:02}.", f"{_LAYER}{index}."
        inside = {mine + ours: theirs + name for ours, name in _INSIDE.items()}
        # The norm of the embedding comes right before the first layer, which has none.
        if index == 0:
            del inside[f"{mine}attention_norm"]
        modules |= inside
    for ours, name in modules.items():
        # Tables have no bias.
        for kind in kinds if name != _WORDS else _KINDS[:1]:
            yield f"{ours}.{kind}", f"{name}.{kind}"


def _activation(config: Mapping[str, Any]) -> str:
    """ptm's activation of layers and head. Raises UserError if they differ or it is unknown."""
    activation = activation_from_config(config, "hidden_activation")
    if activation_from_config(config, "classifier_activation") != activation:
        raise UserError(
            f'config.json: classifier_activation "{config.get("classifier_activation", "gelu")}" '
            f'differs from hidden_activation "{config.get("hidden_activation", "gelu")}", which is '
            "not supported. Supported: equal values."
        )
    return activation


def _has_biases(config: Mapping[str, Any]) -> bool:
    """Whether the modules have biases. Raises UserError if only some have."""
    biases = {key: bool(config.get(key, False)) for key in _BIASES}
    if len(set(biases.values())) > 1:
        shown = ", ".join(f"{key} = {str(value).lower()}" for key, value in biases.items())
        raise UserError(
            f"config.json: {shown}, which is not supported. Supported: all true or all false."
        )
    return biases["norm_bias"]


def _global_every(config: Mapping[str, Any]) -> int:
    """The period of global layers: layer 0 of every so many is global, the rest are windowed.

    Raises UserError for a pattern without such a period.
    """
    layers = config["num_hidden_layers"]
    kinds, period = config.get("layer_types"), config.get("global_attn_every_n_layers", 3)
    if kinds is None:
        return int(period)
    whole = [index for index, kind in enumerate(kinds) if kind == "full_attention"]
    every = whole[1] if len(whole) > 1 else layers
    if len(kinds) != layers or whole != list(range(0, layers, every)):
        raise UserError(
            "config.json: this layer_types is not supported. Supported: one entry per layer, "
            "with full_attention for layer 0 and then every n-th layer, and sliding_attention "
            "for all other layers."
        )
    return every
