"""What BART and PEGASUS share in transformers: the names of their tensors, and their configs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.interop.hf.base import Tensors
from ptm.interop.hf.shared import encoder_decoder
from ptm.interop.hf.shared.encoder_decoder import (
    OUTPUT,
    OUTPUT_BIAS,
    WORDS,
    Fixed,
    Parts,
    Stacks,
    module,
)
from ptm.interop.hf.shared.naming import KINDS, refuse_other_rows
from ptm.interop.hf.shared.post_norm import ACTIVATIONS, our_activation
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

_WORDS, _OUTPUT = "model.shared.weight", "lm_head.weight"
BIAS = "final_logits_bias"
POSITIONS = "model.{side}.embed_positions.weight"
EPSILON = 1e-5
"""Of their norms, which no config can change."""
_COPIES = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
_LAYER = {
    "attention.qkv": tuple(f"self_attn.{part}_proj" for part in "qkv"),
    "attention.output": ("self_attn.out_proj",),
    "attention_norm": ("self_attn_layer_norm",),
    "feed_forward.up": ("fc1",),
    "feed_forward.down": ("fc2",),
    "feed_forward_norm": ("final_layer_norm",),
}
_CROSSING = {
    "cross_attention.query": ("encoder_attn.q_proj",),
    "cross_attention.key_value": tuple(f"encoder_attn.{part}_proj" for part in "kv"),
    "cross_attention.output": ("encoder_attn.out_proj",),
    "cross_attention_norm": ("encoder_attn_layer_norm",),
}
SIDES = {"encoder": "embedding", "decoder": "target_embedding"}
"""Stacks, and what the embedding before each is called here."""


def fixed(norm_position: str, embedding: Mapping[str, Any], *, said: Collection[str]) -> Fixed:
    """Options of layers with biases, scales and the one epsilon there is."""
    return Fixed(
        stack={"norm_position": norm_position, "norm_epsilon": EPSILON},
        embedding=embedding,
        said=("activation",),
        said_of_embedding=("positions", "scaled", *said),
    )


def refusal(model: ModelBlock, objective: Objective, options: Fixed) -> str | None:
    """Why it is not of the family that has these options; None where it is."""
    reason = encoder_decoder.refusal(model, objective, options, alike=("activation",))
    if reason is not None:
        return reason
    here, there = model.embedding, model.decoder_embedding
    lengths = [part.positions - part.position_offset for part in (here, there)]
    if lengths[0] != lengths[1]:
        return f"it has {lengths[0]} positions on the one side and {lengths[1]} on the other"
    if here.scaled != there.scaled:
        return f"it has model.embedding.scaled = {here.scaled} on one side alone"
    if Stacks.of(model, objective).head.scaled:
        return "it has objective.head.scaled = True"
    return None


def config_of(model: ModelBlock, objective: Objective, vocabulary: Vocabulary) -> dict[str, Any]:
    """The keys that BartConfig and PegasusConfig share."""
    stacks, shape = Stacks.of(model, objective), model.shape(vocabulary.size)
    sizes: dict[str, Any] = {}
    for side, stack in (("encoder", stacks.encoder), ("decoder", stacks.decoder)):
        sizes |= {
            f"{side}_layers": stack.layers,
            f"{side}_attention_heads": stack.heads,
            f"{side}_ffn_dim": stack.feed_forward_size,
        }
    return {
        "is_encoder_decoder": True,
        "vocab_size": vocabulary.size,
        "d_model": stacks.encoder.hidden_size,
        **sizes,
        "max_position_embeddings": model.embedding.positions - model.embedding.position_offset,
        "activation_function": ACTIVATIONS[stacks.encoder.activation],
        "scale_embedding": model.embedding.scaled,
        "dropout": shape.dropout,
        "attention_dropout": shape.attention_dropout,
        "activation_dropout": 0.0,
        "init_std": model.init.std,
        "tie_word_embeddings": stacks.head.tied,
        **encoder_decoder.special_ids(vocabulary),
        "forced_eos_token_id": None,
        "torch_dtype": "float32",
    }


def to_theirs(
    tensors: Tensors, model: ModelBlock, objective: Objective, outside: Parts
) -> dict[str, Tensor]:
    """Everything but positions; the output bias is zeros where the model has none.

    `outside`: what the family has besides words and layers.
    """
    stacks = Stacks.of(model, objective)
    layers = {"encoder": stacks.encoder.layers, "decoder": stacks.decoder.layers}
    found = encoder_decoder.to_theirs(tensors, {**_parts(layers), **outside})
    if not stacks.head.tied:
        # Where the output is not tied there, nothing is.
        found |= dict.fromkeys(_COPIES, tensors[WORDS])
    bias = tensors.get(OUTPUT_BIAS)
    words = tensors[WORDS]
    found[BIAS] = (words.new_zeros(len(words)) if bias is None else bias)[None]
    return found


def full_name(name: str) -> str:
    """A bare model has its tensors without `model.`."""
    whole = ("model.", "lm_head.", BIAS)
    return name if name.startswith(whole) else f"model.{name}"


def refuse_other_values(config: Mapping[str, Any], only: Mapping[str, Any]) -> None:
    """Raise UserError where an older config's switch has another value than its family has."""
    for key, value in only.items():
        if config.get(key, value) != value:
            raise UserError(
                f"config.json: {key} = {config[key]} makes it another architecture than its "
                "model_type says; that is not supported."
            )


def blocks_of(
    config: Mapping[str, Any], *, stack: Mapping[str, Any], embedding: Mapping[str, Any]
) -> dict[str, Any]:
    """`model` and the head; `stack`, `embedding`: what the family has."""
    stacks = {
        side: {
            "type": "transformer",
            "hidden_size": config["d_model"],
            "layers": config[f"{side}_layers"],
            "heads": config[f"{side}_attention_heads"],
            "feed_forward_size": config[f"{side}_ffn_dim"],
            "activation": our_activation(config, "activation_function"),
            **stack,
        }
        for side in SIDES
    }
    scaled = bool(config.get("scale_embedding", False))
    return {
        "model": {
            "dropout": float(config.get("dropout", 0.1)),
            "attention_dropout": float(config.get("attention_dropout", 0.0)),
            "embedding": {**embedding, "scaled": scaled},
            **stacks,
            "init": {"std": float(config.get("init_std", 0.02))},
        },
        "head": {"tied": bool(config.get("tie_word_embeddings", True)), "bias": True},
    }


def from_theirs(theirs: Tensors, config: Mapping[str, Any], outside: Parts) -> dict[str, Tensor]:
    """Everything but positions, from full names; without an output bias it is zeros."""
    layers = {side: config[f"{side}_layers"] for side in SIDES}
    encoder_decoder.refuse_layers_beyond(
        theirs,
        {f"{side}_layers": (f"model.{side}.layers.", count) for side, count in layers.items()},
    )
    tied = bool(config.get("tie_word_embeddings", True))
    encoder_decoder.refuse_other_copies(theirs, _WORDS, (*_COPIES, _OUTPUT) if tied else _COPIES)
    refuse_other_rows(theirs, config, {"vocab_size": _WORDS})
    parts = {**_parts(layers), **outside}
    found = encoder_decoder.from_theirs(theirs, parts, optional=(OUTPUT,))
    if tied:
        found.pop(OUTPUT, None)
    words = found[WORDS]
    found[OUTPUT_BIAS] = theirs.get(BIAS, words.new_zeros(1, len(words)))[0]
    return found


def _parts(layers: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """What both families have of words and layers, here and there."""
    parts: dict[str, tuple[str, ...]] = {WORDS: (_WORDS,), OUTPUT: (_OUTPUT,)}
    for side, count in layers.items():
        for index in range(count):
            ours, theirs = f"{side}_{index:02}.", f"model.{side}.layers.{index}."
            for mine, names in (_LAYER | _CROSSING if side == "decoder" else _LAYER).items():
                parts |= module(f"{ours}{mine}", [f"{theirs}{name}" for name in names], KINDS)
    return parts
