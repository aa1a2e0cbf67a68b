"""T5 as transformers has it (Raffel et al. 2019), 1.0 and 1.1: config and tensors say which.

1.0 has a plain feed-forward layer and a tied output that is scaled; 1.1 has a gated layer and an
output matrix of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.interop.hf.base import Family, Tensors
from ptm.interop.hf.shared import encoder_decoder
from ptm.interop.hf.shared.encoder_decoder import OUTPUT, WORDS, Fixed, Stacks, module, special_ids
from ptm.interop.hf.shared.naming import refuse_other_rows
from ptm.interop.hf.shared.post_norm import ACTIVATIONS, our_activation
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

_WORDS, _OUTPUT = "shared.weight", "lm_head.weight"
_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
_POSITIONS = 512
"""What an export promises where the config says nothing: there is no table."""

_STACK = {"norm": "rms", "norm_position": "pre", "bias": False, "attention_scale": False}
_FIXED = Fixed(
    stack=_STACK,
    embedding={"of": ("word",), "layer_norm": False, "scaled": False},
    said=("feed_forward", "activation", "norm_epsilon", "head_size", "position_bias"),
    said_of_embedding=("positions",),
)
_ALIKE = (
    *("heads", "head_size", "feed_forward_size", "feed_forward", "activation", "norm_epsilon"),
    "position_bias",
)


class T5(Family):
    """`T5ForConditionalGeneration`."""

    name = "t5"
    decodes = True
    base = ""
    marks = (
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        "decoder.block.0.layer.1.EncDecAttention.q.weight",
    )

    def refusal(self, model: ModelBlock, objective: Objective) -> str | None:
        """Pre-norm, without biases and scales, with relative positions in both stacks."""
        reason = encoder_decoder.refusal(model, objective, _FIXED, alike=_ALIKE)
        if reason is not None:
            return reason
        stacks = Stacks.of(model, objective)
        if stacks.encoder.position_bias is None:
            return "it has no model.encoder.position_bias"
        if stacks.encoder.feed_forward == "gated" and stacks.encoder.activation == "gelu":
            return "its gates have the exact gelu, where T5's have gelu_tanh"
        if stacks.head.bias:
            return "it has objective.head.bias = True"
        if stacks.head.scaled and not stacks.head.tied:
            return "it has objective.head.scaled = True with a matrix of its own"
        if model.attention_dropout not in (None, model.dropout):
            return f"it has model.attention_dropout = {model.attention_dropout} beside dropout"
        return None

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        """`T5Config`, in the keys that all versions of transformers read."""
        stacks = Stacks.of(model, objective)
        encoder, bias = stacks.encoder, stacks.encoder.position_bias
        assert bias is not None, "refused before"
        return {
            "architectures": ["T5ForConditionalGeneration"],
            "model_type": "t5",
            "is_encoder_decoder": True,
            "vocab_size": vocabulary.size,
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
            # Versions before 5 scale a tied output and no other; later ones tie what is equal.
            "tie_word_embeddings": stacks.head.scaled,
            "scale_decoder_outputs": stacks.head.scaled,
            **special_ids(vocabulary),
            "torch_dtype": "float32",
        }

    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        """An output that is tied but not scaled is written as a matrix of its own."""
        stacks = Stacks.of(model, objective)
        gated = stacks.encoder.feed_forward == "gated"
        parts = _parts(stacks.encoder.layers, stacks.decoder.layers, gated=gated)
        found = encoder_decoder.to_theirs(tensors, parts)
        return found if stacks.head.scaled else {_OUTPUT: tensors[WORDS], **found}

    def full_name(self, name: str) -> str:
        """As it is: a bare model has the same names."""
        return name

    def recognises(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        """Its tensors, which other descendants of T5 have too, and its model_type."""
        return self.described_by(config) and self.has_marks(names)

    def blocks(self, config: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
        """Sizes from the config, what is tied from both."""
        feed_forward, activation = _feed_forward(config, usual=self._usual_feed_forward)
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
                    "of": ["word"],
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
        """The inverse of `to_huggingface`."""
        layers = config["num_layers"]
        decoder_layers = config.get("num_decoder_layers") or layers
        encoder_decoder.refuse_layers_beyond(
            tensors,
            {
                "num_layers": ("encoder.block.", layers),
                "num_decoder_layers": ("decoder.block.", decoder_layers),
            },
        )
        scaled = self._is_scaled(config)
        encoder_decoder.refuse_other_copies(
            tensors, _WORDS, (*_COPIES, _OUTPUT) if scaled else _COPIES
        )
        refuse_other_rows(tensors, config, {"vocab_size": _WORDS})
        gated = _feed_forward(config, usual=self._usual_feed_forward)[0] == "gated"
        found = encoder_decoder.from_theirs(
            tensors, _parts(layers, decoder_layers, gated=gated), optional=(OUTPUT,)
        )
        if scaled or _is_tied(tensors):
            found.pop(OUTPUT, None)
        return found

    _usual_feed_forward = "relu"

    def _is_scaled(self, config: Mapping[str, Any]) -> bool:
        """Whether the output is scaled, as it is where config.json does not say it is untied."""
        said = config.get("scale_decoder_outputs", config.get("tie_word_embeddings"))
        return said is not False


def _is_tied(tensors: Tensors) -> bool:
    """Whether an output that is not scaled is the table of words; no config alone says so."""
    if not tensors:
        return False
    return _OUTPUT not in tensors or torch.equal(tensors[_OUTPUT], tensors[_WORDS])


def _projection(feed_forward: str, activation: str) -> str:
    """`feed_forward_proj`, in which the gated gelu is the approximation."""
    if feed_forward == "gated":
        return "gated-gelu" if activation == "gelu_tanh" else f"gated-{ACTIVATIONS[activation]}"
    return ACTIVATIONS[activation]


def _feed_forward(config: Mapping[str, Any], *, usual: str) -> tuple[str, str]:
    """Our kind and activation. Raises UserError for those that are not known here."""
    said = str(config.get("feed_forward_proj", usual))
    kind, _, activation = said.rpartition("-")
    if kind not in ("", "gated"):
        raise UserError(f'config.json: feed_forward_proj "{said}" is not supported.')
    if said == "gated-gelu":
        return "gated", "gelu_tanh"
    key = "feed_forward_proj"
    return "gated" if kind else "dense", our_activation({key: activation}, key)


def _parts(layers: int, decoder_layers: int, *, gated: bool) -> dict[str, tuple[str, ...]]:
    """Every tensor that there can be, here and there."""
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
    return module(ours, theirs, ("weight",))
