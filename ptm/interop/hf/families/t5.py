"""T5 1.0 and 1.1 in transformers (Raffel et al. 2019, arXiv:1910.10683).

1.0 has a plain feed-forward layer and a tied, scaled output; 1.1 has a gated feed-forward layer
and an untied output. Config and tensors show which one a checkpoint is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptm.components.objectives import Objective
from ptm.components.objectives import t5 as objectives
from ptm.errors import UserError
from ptm.interop.effective_options import HEAD, Options
from ptm.interop.hf.base import Family, Tensors
from ptm.interop.hf.model_config import ModelConfig
from ptm.interop.hf.shared import encoder_decoder
from ptm.interop.hf.shared.encoder_decoder import (
    OUTPUT,
    WORDS,
    Stacks,
    module_names,
    special_ids,
)
from ptm.interop.hf.shared.naming import check_layer_count, check_table_sizes
from ptm.interop.hf.shared.post_norm import ACTIVATIONS, activation_from_config
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

_WORDS, _OUTPUT = "shared.weight", "lm_head.weight"
_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
_POSITIONS = 512
"""Sequence length of an import whose config has no n_positions; T5 has no position embedding."""

_STACK = {"norm": "rms", "norm_position": "pre", "bias": False, "attention_scale": False}


class T5(Family):
    """`T5ForConditionalGeneration`."""

    name = "t5"
    is_encoder_decoder = True
    base_prefix = ""
    model_types = ("t5",)
    head_pattern = r"classification_head\.|classifier\.|qa_outputs\."
    # A table that old versions of transformers made and never read.
    buffer_pattern = r"^decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\."
    aliases: Mapping[str, str] = {
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
        "head_dim": "d_kv",
    }
    fixed_keys: Mapping[str, Any] = {"is_encoder_decoder": True}
    keys_without_effect: tuple[str, ...] = ("initializer_factor",)
    signature_tensors = (
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        "decoder.block.0.layer.1.EncDecAttention.q.weight",
    )

    def pretraining_objective(self, *, decoder_start: str | None = None) -> Objective:
        # A tied, scaled output needs no matrix of its own.
        head = {"tied": True, "scaled": True}
        options = {"type": "t5", "head": head, "decoder_start": decoder_start}
        return objectives.T5.model_validate(options)

    def structure_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        reason = encoder_decoder.structure_reason(model, objective)
        if reason is not None:
            return reason
        if Stacks.of(model, objective).encoder.position_bias is None:
            return "model.encoder.position_bias is not set"
        if model.attention_dropout not in (None, model.dropout):
            return f"model.attention_dropout = {model.attention_dropout}, not model.dropout"
        return None

    def as_written(self, options: Options) -> Options:
        # A tied output that is not scaled is written as an untied copy, see `config`.
        return options if options[f"{HEAD}.scaled"] else {**options, f"{HEAD}.tied": False}

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        stacks = Stacks.of(model, objective)
        encoder, bias = stacks.encoder, stacks.encoder.position_bias
        assert bias is not None, "position_bias was checked before"
        # Keys that all versions of transformers read.
        return {
            "architectures": ["T5ForConditionalGeneration"],
            "model_type": "t5",
            "is_encoder_decoder": True,
            "vocab_size": model.shape(vocabulary.size).vocabulary_size,
            "d_model": encoder.hidden_size,
            "d_kv": encoder.head_shape.head_size,
            "d_ff": encoder.feed_forward_size,
            "num_layers": encoder.layers,
            "num_decoder_layers": stacks.decoder.layers,
            "num_heads": encoder.heads,
            "relative_attention_num_buckets": bias.buckets,
            "relative_attention_max_distance": bias.max_distance,
            "n_positions": model.embedding.positions,
            "dropout_rate": model.dropout,
            "layer_norm_epsilon": encoder.norm_epsilon,
            "feed_forward_proj": _projection(encoder.feed_forward, encoder.activation),
            # transformers before 5 scales the output exactly if it is tied; later versions tie
            # matrices that are equal. So "tied" is written only for a scaled output.
            "tie_word_embeddings": stacks.head.scaled,
            "scale_decoder_outputs": stacks.head.scaled,
            **special_ids(vocabulary, objective),
            "torch_dtype": "float32",
        }

    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        stacks = Stacks.of(model, objective)
        gated = stacks.encoder.feed_forward == "gated"
        parts = _parts(stacks.encoder.layers, stacks.decoder.layers, gated=gated)
        found = encoder_decoder.split_and_rename(tensors, parts)
        # A tied output that is not scaled is written as an untied copy, see `config`.
        return found if stacks.head.scaled else {_OUTPUT: tensors[WORDS], **found}

    def qualified_name(self, name: str) -> str:
        # Models with a head of fine-tuning have a prefix.
        return name.removeprefix("transformer.")

    def to_recipe(self, config: ModelConfig, tensors: Tensors) -> dict[str, Any]:
        feed_forward, activation = _feed_forward(config, usual=self._default_feed_forward)
        stack: dict[str, Any] = {
            "type": "transformer",
            "hidden_size": config["d_model"],
            "layers": config["num_layers"],
            "heads": config["num_heads"],
            "feed_forward_size": config["d_ff"],
            "feed_forward": feed_forward,
            "activation": activation,
            **_STACK,
            "norm_epsilon": float(config.get("layer_norm_epsilon", 1e-6)),
            "position_bias": {
                "buckets": config.get("relative_attention_num_buckets", 32),
                "max_distance": config.get("relative_attention_max_distance", 128),
            },
        }
        if config["d_kv"] * config["num_heads"] != config["d_model"]:
            stack["head_size"] = config["d_kv"]
        decoder_layers = config.get("num_decoder_layers") or config["num_layers"]
        scaled = self._is_scaled(config)
        return {
            "model": {
                "dropout": float(config.get("dropout_rate", 0.1)),
                "embedding": {
                    "parts": ["word"],
                    "layer_norm": False,
                    "positions": config.get("n_positions", _POSITIONS),
                },
                "encoder": stack,
                "decoder": {**stack, "layers": decoder_layers},
            },
            "objective": {
                "type": "t5",
                "head": {"tied": scaled or _is_tied(tensors), "scaled": scaled},
            },
        }

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        layers = config["num_layers"]
        decoder_layers = config.get("num_decoder_layers") or layers
        check_layer_count(tensors, "encoder.block.", layers, key="num_layers")
        check_layer_count(tensors, "decoder.block.", decoder_layers, key="num_decoder_layers")
        scaled = self._is_scaled(config)
        encoder_decoder.check_tied_copies(
            tensors, _WORDS, (*_COPIES, _OUTPUT) if scaled else _COPIES
        )
        check_table_sizes(tensors, config, {"vocab_size": _WORDS})
        gated = _feed_forward(config, usual=self._default_feed_forward)[0] == "gated"
        found = encoder_decoder.rename_and_concatenate(
            tensors, _parts(layers, decoder_layers, gated=gated), optional=(OUTPUT,)
        )
        if scaled or _is_tied(tensors):
            found.pop(OUTPUT, None)
        return found

    _default_feed_forward = "relu"

    def _is_scaled(self, config: Mapping[str, Any]) -> bool:
        """Whether the output is scaled: by default, unless config.json declares it untied."""
        scaled = config.get("scale_decoder_outputs", config.get("tie_word_embeddings"))
        return scaled is not False


def _is_tied(tensors: Tensors) -> bool:
    """Whether an unscaled output is the word embedding; only the tensors show it."""
    import torch

    if not tensors:
        return False
    return _OUTPUT not in tensors or torch.equal(tensors[_OUTPUT], tensors[_WORDS])


def _projection(feed_forward: str, activation: str) -> str:
    """The value of `feed_forward_proj`, where gated-gelu means the tanh approximation."""
    if feed_forward == "gated":
        return "gated-gelu" if activation == "gelu_tanh" else f"gated-{ACTIVATIONS[activation]}"
    return ACTIVATIONS[activation]


def _feed_forward(config: Mapping[str, Any], *, usual: str) -> tuple[str, str]:
    """ptm's `feed_forward` and `activation`. Raises UserError for unknown ones.

    `usual`: the value of `feed_forward_proj` if the config has none.
    """
    projection = str(config.get("feed_forward_proj", usual))
    kind, _, activation = projection.rpartition("-")
    if kind not in ("", "gated"):
        raise UserError(
            f'config.json: feed_forward_proj "{projection}" is not supported. Supported: '
            "ACTIVATION and gated-ACTIVATION."
        )
    # Both follow from feed_forward_proj, but transformers writes them too.
    gated = config.get("is_gated_act", bool(kind))
    named = "gelu_new" if projection == "gated-gelu" else activation
    if gated != bool(kind) or config.get("dense_act_fn", named) != named:
        raise UserError(
            f'config.json: feed_forward_proj "{projection}" contradicts is_gated_act = '
            f"{json.dumps(gated)} or dense_act_fn = {json.dumps(config.get('dense_act_fn'))}."
        )
    key = "dense_act_fn"
    return "gated" if kind else "dense", activation_from_config({key: named}, key)


def _parts(layers: int, decoder_layers: int, *, gated: bool) -> dict[str, tuple[str, ...]]:
    """Canonical name of every tensor that a model may have, to transformers' names."""
    parts: dict[str, tuple[str, ...]] = {WORDS: (_WORDS,), OUTPUT: (_OUTPUT,)}
    for side, count in (("encoder", layers), ("decoder", decoder_layers)):
        first = f"{side}.block.0.layer.0.SelfAttention"
        parts[f"{side}_position_bias.weight"] = (f"{first}.relative_attention_bias.weight",)
        for index in range(count):
            ours, theirs = f"{side}_{index:02}.", f"{side}.block.{index}.layer."
            parts |= _layer(ours, theirs, crosses=side == "decoder", gated=gated)
        parts |= _weight(f"{side}_norm", f"{side}.final_layer_norm")
    return parts


def _layer(ours: str, theirs: str, *, crosses: bool, gated: bool) -> dict[str, tuple[str, ...]]:
    """Names of one block; `ours`, `theirs`: prefixes. `crosses`: a decoder's, with cross-attention.

    A block of transformers numbers its parts: 0 self-attention, then in a decoder 1
    cross-attention, last the feed-forward layer.
    """
    attention, cross, last = f"{theirs}0.SelfAttention.", f"{theirs}1.", 2 if crosses else 1
    up = ("gate_up", ("wi_0", "wi_1")) if gated else ("up", ("wi",))
    dense = f"{theirs}{last}.DenseReluDense."
    parts = {
        **_weight(f"{ours}attention.qkv", *(f"{attention}{name}" for name in "qkv")),
        **_weight(f"{ours}attention.output", f"{attention}o"),
        **_weight(f"{ours}attention_norm", f"{theirs}0.layer_norm"),
        **_weight(f"{ours}feed_forward.{up[0]}", *(f"{dense}{name}" for name in up[1])),
        **_weight(f"{ours}feed_forward.down", f"{dense}wo"),
        **_weight(f"{ours}feed_forward_norm", f"{theirs}{last}.layer_norm"),
    }
    if crosses:
        parts |= {
            **_weight(f"{ours}cross_attention.query", f"{cross}EncDecAttention.q"),
            **_weight(
                f"{ours}cross_attention.key_value",
                *(f"{cross}EncDecAttention.{name}" for name in "kv"),
            ),
            **_weight(f"{ours}cross_attention.output", f"{cross}EncDecAttention.o"),
            **_weight(f"{ours}cross_attention_norm", f"{cross}layer_norm"),
        }
    return parts


def _weight(ours: str, *theirs: str) -> dict[str, tuple[str, ...]]:
    return module_names(ours, theirs, ("weight",))
