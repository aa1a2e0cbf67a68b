"""ModernBERT in transformers (Warner et al. 2024, arXiv:2412.13663)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives import Objective
from ptm.components.objectives.mlm import Mlm
from ptm.errors import UserError
from ptm.interop.hf.base import Family, Tensors
from ptm.interop.hf.shared.naming import unsupported_option
from ptm.interop.hf.shared.post_norm import ACTIVATIONS, activation_from_config
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

_LAYER = "model.layers."
_BIASES = ("attention_bias", "mlp_bias", "norm_bias", "classifier_bias")
_KINDS = ("weight", "bias")

# (canonical, transformers') module names, without `.weight` and `.bias`.
_OUTSIDE = (
    ("word_embedding", "model.embeddings.tok_embeddings"),
    ("embedding.norm", "model.embeddings.norm"),
    ("encoder_norm", "model.final_norm"),
    ("mlm_transform.dense", "head.dense"),
    ("mlm_transform.norm", "head.norm"),
    ("mlm_unembed", "decoder"),
)
_INSIDE = (
    ("attention_norm", "attn_norm"),
    ("attention.qkv", "attn.Wqkv"),
    ("attention.output", "attn.Wo"),
    ("feed_forward_norm", "mlp_norm"),
    ("feed_forward.gate_up", "mlp.Wi"),
    ("feed_forward.down", "mlp.Wo"),
)

# Options that every ModernBERT has, and the options that the config can express.
_FIXED = {"feed_forward": "gated", "norm_position": "pre", "first_norm": False, "norm": "layer"}
_EXPRESSIBLE_ENCODER = (
    *_FIXED,
    *("activation", "norm_epsilon", "bias", "rotary", "window", "global_every"),
)


class ModernBert(Family):
    """`ModernBertForMaskedLM`."""

    name = "modernbert"
    base_prefix = "model."
    signature_tensors = ("model.layers.0.attn.Wqkv.weight", "model.layers.0.mlp.Wi.weight")

    def unsupported_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        encoder, embedding = model.encoder, model.embedding
        if not isinstance(encoder, Transformer) or encoder.rotary is None:
            return "the encoder is not a transformer with rotary positions"
        for key, value in _FIXED.items():
            if getattr(encoder, key) != value:
                return f"model.encoder.{key} = {getattr(encoder, key)}"
        if encoder.window is not None and encoder.global_every is None:
            return "every layer has windowed attention (model.encoder.global_every is not set)"
        if embedding.parts != ("word",) or not embedding.layer_norm:
            return "the embedding is not a word embedding with a layer norm"
        if embedding.size not in (None, encoder.hidden_size):
            return "model.embedding.size is not model.encoder.hidden_size"
        if not isinstance(objective, Mlm):
            return f"objective.type = {objective.type}"
        return unsupported_option(encoder, "model.encoder", expressible=_EXPRESSIBLE_ENCODER)

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
        found = {
            theirs: tensors[ours]
            for ours, theirs in _names(model.encoder.layers)
            if ours in tensors
        }
        if "mlm_bias.bias" in tensors:
            found["decoder.bias"] = tensors["mlm_bias.bias"]
        return found

    def qualified_name(self, name: str) -> str:
        return _prefixed(name)

    def matches_checkpoint(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        return self.has_signature_tensors(names)

    def to_recipe(self, config: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
        theta, local_theta = _thetas(config)
        every = _global_every(config)
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
            encoder |= {"window": config.get("local_attention", 128), "global_every": every}
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
        theirs = {_prefixed(name): tensor for name, tensor in tensors.items()}
        layers = config["num_hidden_layers"]
        beyond = sorted(name for name in theirs if name.startswith(f"{_LAYER}{layers}."))
        if beyond:
            raise UserError(
                f"config.json: num_hidden_layers = {layers}, but the weights have {beyond[0]}."
            )
        found = {ours: theirs[name] for ours, name in _names(layers) if name in theirs}
        if config.get("tie_word_embeddings", True):
            # Some files store the tied matrix under both names.
            found.pop("mlm_unembed.weight", None)
        bias = found.pop("mlm_unembed.bias", None)
        return found if bias is None else {**found, "mlm_bias.bias": bias}


def _names(layers: int) -> list[tuple[str, str]]:
    """Canonical and transformers' name of every tensor that a model may have."""
    modules = [*_OUTSIDE]
    for index in range(layers):
        mine, theirs = f"encoder_{index:02}.", f"{_LAYER}{index}."
        modules += [(mine + ours, theirs + name) for ours, name in _INSIDE]
    return [(f"{ours}.{kind}", f"{name}.{kind}") for ours, name in modules for kind in _KINDS]


def _activation(config: Mapping[str, Any]) -> str:
    """ptm's activation of layers and head. Raises UserError if they differ or it is unknown."""
    named = config.get("hidden_activation", "gelu")
    if config.get("classifier_activation", "gelu") != named:
        raise UserError(
            f'config.json: classifier_activation "{config.get("classifier_activation", "gelu")}" '
            f'differs from hidden_activation "{named}", which is not supported. Supported: equal '
            "values."
        )
    return activation_from_config(config, "hidden_activation")


def _has_biases(config: Mapping[str, Any]) -> bool:
    """Whether the modules have biases. Raises UserError if only some have."""
    biases = {key: bool(config.get(key, False)) for key in _BIASES}
    if len(set(biases.values())) > 1:
        shown = ", ".join(f"{key} = {str(value).lower()}" for key, value in biases.items())
        raise UserError(
            f"config.json: {shown}, which is not supported. Supported: all true or all false."
        )
    return biases["norm_bias"]


def _thetas(config: Mapping[str, Any]) -> tuple[float, float]:
    """Base of the rotary positions of global layers and of windowed layers.

    Raises UserError for scaled rotary positions.
    """
    thetas = []
    for kind, key, usual in (
        ("full_attention", "global_rope_theta", 160_000.0),
        ("sliding_attention", "local_rope_theta", 10_000.0),
    ):
        rope = (config.get("rope_parameters") or {}).get(kind) or {}
        if rope.get("rope_type", "default") != "default" or config.get("rope_scaling"):
            raise UserError(
                "config.json: scaled rotary position embeddings (rope_scaling, or a rope_type "
                'other than "default") are not supported.'
            )
        # Older configs may have null.
        thetas.append(float(rope.get("rope_theta") or config.get(key) or usual))
    return thetas[0], thetas[1]


def _global_every(config: Mapping[str, Any]) -> int:
    """The period of global layers: layer 0 of every so many is global, the rest are windowed.

    Raises UserError for a pattern without such a period.
    """
    layers = config["num_hidden_layers"]
    kinds = config.get("layer_types")
    if kinds is None:
        return int(config.get("global_attn_every_n_layers", 3))
    whole = [index for index, kind in enumerate(kinds) if kind == "full_attention"]
    every = whole[1] if len(whole) > 1 else layers
    if len(kinds) != layers or whole != list(range(0, layers, every)):
        raise UserError(
            "config.json: this layer_types is not supported. Supported: one entry per layer, "
            "with full_attention for layer 0 and then every n-th layer, and sliding_attention "
            "for all other layers."
        )
    return every


def _prefixed(name: str) -> str:
    """The name with the prefix `model.`, which a bare `ModernBertModel` lacks."""
    return name if name.startswith(("model.", "head.", "decoder.")) else f"model.{name}"
